package mesh_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"testing"

	"github.com/wadi-run/wadi/internal/mesh"
)

func TestPeerID(t *testing.T) {
	for path, want := range map[string]string{
		"/ns/default/dc/dc1/svc/web":       "web",
		"/ns/default/dc/elsewhere/svc/web": "web", // As intentions have it.
		"/ns/team/dc/dc1/svc/web":          "",
		"/ap/east/ns/default/dc/dc1/svc/x": "",
		"/gateway/mesh/dc/dc1":             "",
		"/agent/client/dc/dc1/id/node":     "",
		"/ns/default/dc/dc1/svc/web/x":     "",
		"":                                 "",
	} {
		u := &url.URL{Scheme: "spiffe", Host: "11111111-2222-3333-4444-555555555555.consul", Path: path}
		got, err := mesh.PeerID(tls.ConnectionState{PeerCertificates: []*x509.Certificate{{URIs: []*url.URL{u}}}})
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v", path, got, err)
		}
	}
	if got, err := mesh.PeerID(tls.ConnectionState{}); err == nil {
		t.Errorf("without a certificate: got %q", got)
	}
}
