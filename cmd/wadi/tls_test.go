package main

import (
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/internal/apitls"
	"github.com/wadi-run/wadi/internal/apitls/certtest"
)

// overTLS serves the agent's API over TLS as well, with files that verify clients.
func (b *bench) overTLS(t *testing.T, f apitls.Files) *httptest.Server {
	t.Helper()
	source, err := apitls.Load(f, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(b.Config.Handler)
	s.Config.ErrorLog = log.New(t.Output(), "", 0)
	s.TLS = source.ServerConfig()
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// Each command calls an agent with HTTPS by flags or by the environment, and says what is
// missing.
func TestTLS(t *testing.T) {
	b := newBench(t)
	ours, foreign := certtest.NewAuthority(t), certtest.NewAuthority(t)
	server := ours.Files(t, t.TempDir(), 2, "wadi.example.com")
	server.VerifyClient = true
	s := b.overTLS(t, server)
	client, other := ours.Files(t, t.TempDir(), 3, "me"), foreign.Files(t, t.TempDir(), 4, "me")
	plain := strings.Replace(s.URL, "https://", "http://", 1)
	flags := func(ca, cert, key, name string) []string {
		return []string{"-ca-cert", ca, "-client-cert", cert, "-client-key", key, "-tls-server-name", name}
	}
	for _, tt := range []struct {
		name string
		addr string
		args []string
		env  []string
		code int
		want string // On standard error.
	}{
		{"flags", s.URL, flags(client.CA, client.Cert, client.Key, "wadi.example.com"), nil, 0, ""},
		{"environment", s.URL, nil, []string{"WADI_CACERT=" + client.CA, "WADI_CLIENT_CERT=" + client.Cert, "WADI_CLIENT_KEY=" + client.Key, "WADI_TLS_SERVER_NAME=wadi.example.com"}, 0, ""},
		{"no authority", s.URL, flags("", "", "", "wadi.example.com"), nil, 1, "-ca-cert or WADI_CACERT"},
		{"another authority", s.URL, flags(other.CA, "", "", "wadi.example.com"), nil, 1, "-ca-cert or WADI_CACERT"},
		{"another name", s.URL, flags(client.CA, client.Cert, client.Key, ""), nil, 1, "-tls-server-name"},
		{"no client certificate", s.URL, flags(client.CA, "", "", "wadi.example.com"), nil, 1, "-client-cert and -client-key"},
		{"another's client certificate", s.URL, flags(client.CA, other.Cert, other.Key, "wadi.example.com"), nil, 1, "-client-cert and -client-key"},
		{"half a client certificate", s.URL, flags(client.CA, client.Cert, "", ""), nil, 2, "go together"},
		{"no such file", s.URL, flags("/nowhere/ca.pem", "", "", ""), nil, 2, "/nowhere/ca.pem"},
		{"not an authority", s.URL, flags(client.Key, "", "", ""), nil, 2, "there is no certificate in"},
		{"plain HTTP to HTTPS", plain, nil, nil, 1, "call it with https://"},
		{"HTTPS to plain HTTP", strings.Replace(b.URL, "http://", "https://", 1), nil, nil, 1, "call it with http://"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := b.wadiIn(t.Context(), "", append(tt.env, "WADI_ADDR="+tt.addr), append([]string{"service", "list"}, tt.args...)...)
			if got.code != tt.code || !strings.Contains(got.stderr, tt.want) || tt.want == "" && got.stderr != "" {
				t.Errorf("got %d, %q, want %d, %q", got.code, got.stderr, tt.code, tt.want)
			}
			if strings.Contains(got.stderr, "Is an agent running there?") {
				t.Errorf("it asks whether an agent runs there: %s", got.stderr)
			}
		})
	}
}
