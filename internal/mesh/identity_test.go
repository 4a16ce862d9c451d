package mesh_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/internal/mesh"
)

func TestPeerID(t *testing.T) {
	for path, want := range map[string]string{
		"/ns/default/dc/dc1/svc/web":       "web",
		"/ns/default/dc/elsewhere/svc/web": "web", // As in intentions.
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

// An agent of the same mesh has the own identity, trust domain and datacenter included.
func TestHasOwnIdentity(t *testing.T) {
	us := source(t, newConsul(t, newCA(t)), "wadi-activator", "wadi-activator-grpc")
	for id, want := range map[string]bool{
		trustDomain + "/ns/default/dc/dc1/svc/wadi-activator":                              true,
		trustDomain + "/ns/default/dc/dc2/svc/wadi-activator":                              false,
		trustDomain + "/ns/default/dc/dc1/svc/wadi-activator-grpc":                         false,
		trustDomain + "/ns/default/dc/dc1/svc/web":                                         false,
		"11111111-0000-0000-0000-000000000000.consul/ns/default/dc/dc1/svc/wadi-activator": false,
	} {
		host, path, _ := strings.Cut(id, "/")
		u := &url.URL{Scheme: "spiffe", Host: host, Path: "/" + path}
		if got := us.HasOwnIdentity(tls.ConnectionState{PeerCertificates: []*x509.Certificate{{URIs: []*url.URL{u}}}}); got != want {
			t.Errorf("%s: got %t, want %t", id, got, want)
		}
	}
	if us.HasOwnIdentity(tls.ConnectionState{}) {
		t.Error("without a certificate: got true")
	}
	if (&mesh.Source{Services: []string{"wadi-activator"}}).HasOwnIdentity(tls.ConnectionState{}) {
		t.Error("without a leaf: got true")
	}
}
