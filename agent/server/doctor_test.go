package server_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/server"
)

func TestDoctor(t *testing.T) {
	if got := newBench(t, nil).ask(t, "GET", "/v1/doctor", ""); got.status != http.StatusServiceUnavailable {
		t.Errorf("without checks: got %d %s", got.status, got.body)
	}
	b := newBench(t, func(c *server.Config) {
		c.Doctor = func(context.Context, string) []wadi.AgentReport {
			return []wadi.AgentReport{{Name: "one", Findings: []wadi.Finding{{Level: wadi.LevelWarn, About: "agent", What: "it drains"}}}}
		}
	})
	want := `{"agents":[{"name":"one","findings":[{"level":"warn","about":"agent","what":"it drains"}]}]}`
	if got := b.ask(t, "GET", "/v1/doctor", ""); got.status != http.StatusOK || strings.TrimSpace(got.body) != want {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

// A warning is shown, and does not make the agent unhealthy for a load balancer.
func TestHealth_Warnings(t *testing.T) {
	b := newBench(t, func(c *server.Config) { c.Warnings = func() []string { return []string{"a certificate expires"} } })
	if got := b.ask(t, "GET", "/v1/agent/health", ""); got.status != http.StatusOK || !strings.Contains(got.body, `"warnings":["a certificate expires"]`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
}
