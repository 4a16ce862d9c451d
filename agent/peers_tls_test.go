package agent

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/apitls"
	"github.com/wadi-run/wadi/internal/apitls/certtest"
)

// httpTLS is the configuration of an API with these files.
func httpTLS(f apitls.Files) string {
	return fmt.Sprintf("http {\n  tls {\n    cert_file     = %q\n    key_file      = %q\n    ca_file       = %q\n    verify_client = true\n  }\n}\n", f.Cert, f.Key, f.CA)
}

func (r *running) clientTLS(t *testing.T, f apitls.Files) *api.Client {
	t.Helper()
	c, err := api.New(api.Config{Address: "https://" + r.APIAddr().String(),
		TLS: api.TLS{CAFile: f.CA, CertFile: f.Cert, KeyFile: f.Key, ServerName: "wadi.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Without the mesh agents ask each other by their APIs' TLS, with client certificates where
// those are asked for, and never an agent of another authority.
func TestAgents_AskOverTLS(t *testing.T) {
	c := newCluster(t)
	ours, foreign := certtest.NewAuthority(t), certtest.NewAuthority(t)
	files := ours.Files(t, t.TempDir(), 2, "wadi.example.com")
	one := c.run(t, "one", httpTLS(files))
	one.ready(t)
	two := c.run(t, "two", httpTLS(ours.Files(t, t.TempDir(), 3, "wadi.example.com")))
	strange := foreign.Files(t, t.TempDir(), 4, "wadi.example.com")
	three := c.run(t, "three", httpTLS(strange))
	two.ready(t)
	three.ready(t)
	if _, body := get(t, one.MetricsAddr(), "/metrics"); !regexp.MustCompile(`\nwadi_api_certificate_remaining_seconds [1-9]`).MatchString(body) ||
		!strings.Contains(body, "\nwadi_api_certificate_problems 0\n") {
		t.Errorf("no metrics of the certificate:\n%s", body)
	}
	if l, err := two.clientTLS(t, files).Leader(t.Context()); err != nil || l.Name != "one" || l.Address != "https://"+one.APIAddr().String() {
		t.Fatalf("got leader %+v, %v", l, err)
	}
	if _, err := one.clientTLS(t, files).Apply(t.Context(), api.Submission{Files: []api.File{{Name: "hello.hcl", Source: helloService}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := two.clientTLS(t, files).Decisions(t.Context(), "hello"); err != nil {
		t.Errorf("a follower: %v", err)
	}
	if _, err := three.clientTLS(t, strange).Decisions(t.Context(), "hello"); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("a follower of another authority: %v", err)
	}
	eventually(t, "all agents are known", func() bool {
		all, err := two.clientTLS(t, files).Doctor(t.Context())
		return err == nil && len(all.Agents) == 3
	})
	all, err := two.clientTLS(t, files).Doctor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all.Agents {
		unasked := ""
		for _, f := range a.Findings {
			if strings.Contains(f.What, "can't ask it") {
				unasked = f.What
			}
		}
		if want := a.Name == "three"; (unasked != "") != want || want && !strings.Contains(unasked, "unknown authority") {
			t.Errorf("%s: %q", a.Name, unasked)
		}
	}
}

// A client that speaks HTTP to a port of HTTPS, and one without a certificate, get nothing.
func TestAPI_RefusesOtherClients(t *testing.T) {
	c := newCluster(t)
	ours := certtest.NewAuthority(t)
	files := ours.Files(t, t.TempDir(), 2, "wadi.example.com")
	one := c.run(t, "one", httpTLS(files))
	one.ready(t)
	if code, body := get(t, one.APIAddr(), "/v1/agent/health"); code != 400 || !strings.Contains(body, "HTTPS server") {
		t.Errorf("plain HTTP: got %d %s", code, body)
	}
	bare := files
	bare.Cert, bare.Key = "", ""
	if err := one.clientTLS(t, bare).Health(t.Context()); err == nil {
		t.Error("a client without a certificate gets an answer")
	}
	if err := one.clientTLS(t, files).Health(t.Context()); err != nil {
		t.Errorf("a client of the authority: %v", err)
	}
}
