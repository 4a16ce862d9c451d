//go:build e2e

package rights_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A caller's tokens are used for what the caller wants, and then forgotten: they are in no
// log, no key, no job and no entry, and no answer repeats them.
func TestLeaks_CallersTokens(t *testing.T) {
	c := &cluster{}
	nomadToken := c.token(t, `namespace "default" { policy = "write" }`).SecretID
	harnesstest.Must(t, "write a policy", stack.SetConsulPolicy(t.Context(), "leaks", `service "leaked" {
		policy     = "write"
		intentions = "write"
	}`))
	consulToken, err := stack.ConsulToken(t.Context(), "leaks", "leaks")
	harnesstest.Must(t, "make a token", err)
	follower, err := stack.NewAgent("wadi-follower", "")
	harnesstest.Must(t, "configure a follower", err)
	harnesstest.Must(t, "start the follower", follower.Start(t.Context()))
	t.Cleanup(func() { harnesstest.Must(t, "stop the follower", follower.Stop(context.WithoutCancel(t.Context()))) })
	harnesstest.Must(t, "wait for the follower", follower.WaitLeader(t.Context()))
	secrets := map[string]string{"the caller's token of Nomad": nomadToken, "the caller's token of Consul": consulToken.SecretID}
	hello := inMesh("leaked", `min = 1`)
	for _, a := range []*harness.Agent{stack.Agent, follower} {
		as := *a
		as.Tokens = harness.Tokens{Nomad: nomadToken, Consul: consulToken.SecretID}
		for _, args := range [][]string{
			{"apply", "-detach", "hello.hcl"}, {"plan", "hello.hcl"}, {"validate", "hello.hcl"}, {"service", "status", "leaked"}, {"explain", "leaked"},
			{"service", "scale", "-for", "1s", "leaked", "0"}, {"doctor"}, {"events", "-service", "leaked"}, {"service", "logs", "leaked"},
			{"service", "status", "nobody"}, {"service", "delete", "nobody"},
		} {
			ran := run(t, &as, hello, args...)
			if args[0] == "apply" && ran.Code != 0 {
				t.Fatalf("apply: %s", ran)
			}
			notIn(t, strings.Join(args, " "), ran.String(), secrets)
		}
		mangled(t, a, secrets)
	}
	stack.LookEverywhere(t, secrets)
	as := *stack.Agent
	as.Tokens = harness.Tokens{Nomad: nomadToken, Consul: consulToken.SecretID}
	if ran := run(t, &as, "", "service", "delete", "leaked"); ran.Code != 0 {
		t.Errorf("delete: %s", ran)
	}
	stack.LookEverywhere(t, secrets)
}

// mangled sends tokens in wrong places, and in broken requests.
func mangled(t *testing.T, a *harness.Agent, secrets map[string]string) {
	t.Helper()
	for _, path := range []string{"/v1/services?token=TOKEN", "/v1/service/TOKEN", "/v1/nowhere/TOKEN", "/v1/service/leaked?index=TOKEN"} {
		for _, header := range []string{"X-Nomad-Token", "X-Consul-Token", "Authorization", "X-Forwarded-For", "Wadi-Forwarded"} {
			// The token in a path or a query is the caller's own doing, and answers may
			// repeat it; a header is where a token belongs.
			path := strings.ReplaceAll(path, "TOKEN", "x")
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.API+path, nil)
			harnesstest.Must(t, "make a request", err)
			req.Header.Set(header, "Bearer "+secrets["the caller's token of Nomad"])
			res, err := harness.Do(&http.Client{Timeout: 30 * time.Second}, req)
			harnesstest.Must(t, "ask", err)
			notIn(t, path+" with "+header, res.Body, secrets)
		}
	}
}

// notIn fails the test if a text has a secret.
func notIn(t *testing.T, where, text string, secrets map[string]string) {
	t.Helper()
	harnesstest.WantNone(t, where, text, secrets)
}
