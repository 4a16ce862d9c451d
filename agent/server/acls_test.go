package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi/agent/server"
)

// Where Nomad has no ACLs callers of other machines are refused, unless a certificate tells
// who they are; and the answer of Nomad is used for some seconds.
func TestACLsOff_CallersOfOtherMachines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on, asked := false, 0
		var down error
		_, s := newUnserved(t, func(c *server.Config) {
			c.ACLs = func(context.Context) (bool, error) { asked++; return on, down }
		})
		ask := func(path, remote string, change func(*http.Request)) (int, string) {
			r := httptest.NewRequest("GET", path, nil)
			r.RemoteAddr = remote
			r.Header.Set("X-Nomad-Token", "x")
			change(r)
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			return w.Code, w.Body.String()
		}
		as := func(*http.Request) {}
		const away, here = "192.0.2.1:1", "127.0.0.1:1"
		for _, path := range []string{"/v1/services", "/v1/agent/self", "/v1/openapi.json", "/v1/nowhere"} {
			if code, body := ask(path, away, as); code != 403 || !strings.Contains(body, "Nomad has no ACLs") {
				t.Errorf("%s from another machine: got %d %s", path, code, body)
			}
		}
		if asked != 1 {
			t.Errorf("Nomad was asked %d times", asked)
		}
		if code, body := ask("/v1/agent/health", away, as); code != 200 || strings.Contains(body, "problems") {
			t.Errorf("health: got %d %s", code, body)
		}
		if code, body := ask("/v1/services", here, as); code == 403 {
			t.Errorf("from this machine: got %d %s", code, body)
		}
		if code, _ := ask("/v1/services", here, func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") }); code != 403 {
			t.Errorf("through a proxy on this machine: got %d", code)
		}
		proved := func(r *http.Request) { r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{}}} }
		if code, body := ask("/v1/services", away, proved); code == 403 {
			t.Errorf("with a certificate: got %d %s", code, body)
		}
		if code, _ := ask("/v1/services", away, func(r *http.Request) { r.TLS = &tls.ConnectionState{} }); code != 403 {
			t.Errorf("over TLS without a certificate: got %d", code)
		}
		time.Sleep(6 * time.Second)
		down = errors.New("down") // The last answer stands.
		if code, _ := ask("/v1/services", away, as); code != 403 {
			t.Errorf("while Nomad is away: got %d", code)
		}
		time.Sleep(6 * time.Second)
		on, down = true, nil
		if code, body := ask("/v1/services", away, as); code == 403 {
			t.Errorf("with ACLs: got %d %s", code, body)
		}
	})
}
