package agent

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/agent/agenttest"
	"github.com/wadi-run/wadi/agent/config"
)

func TestGatewayURL(t *testing.T) {
	for _, tt := range []struct {
		redirect, mapped bool
		want             string // PLAIN and SECURE are the listeners' own ports.
	}{
		{false, false, "http://hello.wadi.localhost:PLAIN"},
		{true, false, "https://hello.wadi.localhost:SECURE"},
		{false, true, "http://hello.wadi.localhost:8000"},
		{true, true, "https://hello.wadi.localhost"},
	} {
		file, _ := agenttest.SecureConfig(t, tt.redirect)
		cfg, problems := config.Load([]string{file}, func(string) string { return "" }, config.Flags{Name: "one"})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		if tt.mapped {
			cfg.Gateway.PublicPort, cfg.Gateway.TLS.PublicPort = 8000, 443
		}
		a, err := New(t.Context(), cfg, Deps{Log: hclog.NewNullLogger(), AccessLog: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		_, plain, _ := net.SplitHostPort(a.GatewayAddr().String())
		_, secure, _ := net.SplitHostPort(a.front.tlsAddress())
		want := strings.NewReplacer("PLAIN", plain, "SECURE", secure).Replace(tt.want)
		if got := a.front.url("hello"); got != want {
			t.Errorf("%+v: got %s, want %s", tt, got, want)
		}
	}
}
