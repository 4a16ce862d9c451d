//go:build e2e

package rights_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// hooked runs an agent whose only webhook refuses everything, and gives what it was asked.
func hooked(t *testing.T) (*harness.Agent, <-chan string) {
	t.Helper()
	asked := make(chan string, 64)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked <- fmt.Sprintf("%s\n%v %v", body, r.URL, r.Header)
		_, _ = io.WriteString(w, `{"allowed": false, "message": "closed"}`)
	}))
	t.Cleanup(hook.Close)
	a, err := stack.NewAgent("wadi-hooked", fmt.Sprintf("admission \"policy\" {\n  url = %q\n}\n", hook.URL))
	harnesstest.Must(t, "configure an agent", err)
	harnesstest.Must(t, "start an agent", a.Start(t.Context()))
	t.Cleanup(func() { harnesstest.Must(t, "stop it", a.Stop(context.WithoutCancel(t.Context()))) })
	harnesstest.Must(t, "wait for it", a.WaitLeader(t.Context()))
	return a, asked
}

// A webhook learns the name of the caller's token, and no token; callers that may not submit
// make an agent ask none.
func TestAdmission_WhoAsks(t *testing.T) {
	a, asked := hooked(t)
	harnesstest.Must(t, "make a namespace", namespace(t, "other"))
	c := &cluster{}
	alice, bob := c.token(t, `namespace "default" { policy = "write" }`), c.token(t, `namespace "other" { policy = "write" }`)
	consul, err := stack.ConsulToken(t.Context(), "alice")
	harnesstest.Must(t, "make a token in Consul", err)
	as := func(token string, command ...string) harness.Result {
		b := *a
		b.Tokens = harness.Tokens{Nomad: token, Consul: consul.SecretID}
		return run(t, &b, harnesstest.Hello("hooked", "min = 0", ""), append(command, "hello.hcl")...)
	}
	for _, command := range [][]string{{"validate"}, {"plan"}, {"apply", "-detach"}} {
		for _, token := range []string{bob.SecretID, unknown} {
			if ran := as(token, command...); ran.Code == 0 || strings.Contains(ran.Stderr, "closed") {
				t.Errorf("%v without the right: %s", command, ran)
			}
		}
		if len(asked) > 0 {
			t.Fatalf("%v: a caller without the right made the agent ask %s", command, <-asked)
		}
		if ran := as(alice.SecretID, command...); ran.Code == 0 || !strings.Contains(ran.Stderr, `admission webhook "policy" refuses it: closed`) {
			t.Errorf("%v: %s", command, ran)
		}
		question := <-asked
		var q struct {
			User   string
			DryRun bool `json:"dry_run"`
		}
		if err := json.NewDecoder(strings.NewReader(question)).Decode(&q); err != nil || q.User != alice.Name || q.DryRun != (command[0] != "apply") {
			t.Errorf("%v: got user %q, dry run %v, %v; want %q", command, q.User, q.DryRun, err, alice.Name)
		}
		for _, secret := range []string{alice.SecretID, alice.AccessorID, consul.SecretID, management, stack.AgentTokens.Nomad, stack.AgentTokens.Consul} {
			if strings.Contains(question, secret) {
				t.Errorf("%v: a token is in the question %s", command, question)
			}
		}
	}
}
