//go:build e2e

package rights_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A leader gets new tokens by a reload while it leads, and goes on when the old ones are
// revoked. Tokens that are not good, and mistakes, change nothing at all.
func TestReload_Tokens(t *testing.T) {
	a := stack.Agent
	was, err := os.ReadFile(a.TokensFile())
	harnesstest.Must(t, "read the tokens", err)
	stack.Deploy(t, harnesstest.Hello("turn", `window = "6s"`, ""))

	// Refused whole.
	reload(t, 1, harness.Tokens{Nomad: unknown, Consul: stack.AgentTokens.Consul}, "limits {\n  max_instances = 7\n}\n",
		"nothing was changed", "nomad: Nomad refuses the new nomad.token")
	wantCeiling(t, 100)
	reload(t, 1, harness.Tokens{Nomad: stack.AgentTokens.Nomad, Consul: unknown}, "", "consul.token: Consul refuses the new consul.token")
	reload(t, 1, stack.AgentTokens, "limits {\n  max_instances = -7\n}\n", a.TokensFile()+":8,", "limits.max_instances: -7 is not between 1 and 10000")
	wantCeiling(t, 100)
	answers(t, a, "turn")

	// New ones, that of Nomad in a file.
	old, next := stack.AgentTokens, newTokens(t)
	t.Cleanup(func() { // With the last tokens, as the first are gone; before the service is deleted.
		text := strings.NewReplacer(old.Nomad, stack.AgentTokens.Nomad, old.Consul, stack.AgentTokens.Consul).Replace(string(was))
		harnesstest.Must(t, "restore the tokens", os.WriteFile(a.TokensFile(), []byte(text), 0o600))
		res, err := a.Wadi(context.WithoutCancel(t.Context()), t.TempDir(), "reload")
		if err != nil || res.Code != 0 {
			t.Errorf("restore: %v, %v", err, res)
		}
	})
	file := filepath.Join(stack.Dir, "nomad-token")
	harnesstest.Must(t, "write a token", os.WriteFile(file, []byte(next.Nomad+"\n"), 0o600))
	config := fmt.Sprintf("nomad {\n  token_file = %q\n}\nlimits {\n  max_instances = 7\n}\n", file)
	harnesstest.Must(t, "write the tokens", os.WriteFile(a.TokensFile(), []byte(config+fmt.Sprintf("consul {\n  token = %q\n}\n", next.Consul)), 0o600))
	reloaded(t, 0, "Changed:\n  consul.token\n  limits.max_instances\n  nomad.token\n  nomad.token_file\n")
	stack.AgentTokens = next
	revoke(t, old)
	wantCeiling(t, 7)
	actsOn(t, "turn")

	// A token that is renewed in its file.
	renewed := newTokens(t)
	harnesstest.Must(t, "renew a token", os.WriteFile(file, []byte(renewed.Nomad), 0o600))
	reloaded(t, 0, "Changed:\n  nomad.token\n")
	_, err = stack.Nomad.ACLTokens().Delete(accessor(t, next.Nomad), nil)
	harnesstest.Must(t, "revoke a token", err)
	stack.AgentTokens.Nomad = renewed.Nomad
	harnesstest.Must(t, "apply", a.Apply(t.Context(), harnesstest.Hello("turn", "window = \"6s\"\n    max = 6", "")))
	reloaded(t, 0, "Nothing has changed.\n")
	// Nomad ends the event stream of a revoked token, and the agent begins another.
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		for _, f := range doctor(t, a) {
			if f.Level == "fail" {
				return fmt.Errorf("the doctor found %+v", f)
			}
		}
		return nil
	})
	log, err := os.ReadFile(a.LogFile)
	harnesstest.Must(t, "read the log", err)
	for _, token := range []string{old.Nomad, old.Consul, next.Nomad, next.Consul, renewed.Nomad, unknown} {
		if strings.Contains(string(log), token) {
			t.Errorf("the agent's log has a token")
		}
	}
}

// actsOn proves that the agent acts in Nomad and Consul: a service goes to zero, is woken
// by a request, and changes.
func actsOn(t *testing.T, service string) {
	t.Helper()
	a := stack.Agent
	stack.ToZero(t, service+"-00001")
	answers(t, a, service)
	harnesstest.Must(t, "apply", a.Apply(t.Context(), harnesstest.Hello(service, "window = \"6s\"\n    max = 5", "")))
}

// reload writes tokens and more settings, reloads, and wants an exit code and texts. No
// token is in the output.
func reload(t *testing.T, code int, tokens harness.Tokens, more string, want ...string) {
	t.Helper()
	text := fmt.Sprintf("nomad {\n  token = %q\n}\nconsul {\n  token = %q\n}\n", tokens.Nomad, tokens.Consul) + more
	harnesstest.Must(t, "write the tokens", os.WriteFile(stack.Agent.TokensFile(), []byte(text), 0o600))
	reloaded(t, code, want...)
}

func reloaded(t *testing.T, code int, want ...string) {
	t.Helper()
	res, err := stack.Agent.Wadi(t.Context(), t.TempDir(), "reload")
	harnesstest.Must(t, "reload", err)
	for _, w := range want {
		if res.Code != code || !strings.Contains(res.Stdout+res.Stderr, w) {
			t.Errorf("reload: got %v, want exit code %d and %q", res, code, w)
		}
	}
	for _, token := range []string{unknown, stack.AgentTokens.Nomad, stack.AgentTokens.Consul} {
		if strings.Contains(res.Stdout+res.Stderr, token) {
			t.Errorf("the answer has a token: %v", res)
		}
	}
}

// wantCeiling proves which limits.max_instances is in force.
func wantCeiling(t *testing.T, want int) {
	t.Helper()
	res, err := stack.Agent.Wadi(t.Context(), t.TempDir(), "service", "scale", "-for", "10m", "turn", "5000")
	harnesstest.Must(t, "scale", err)
	if text := fmt.Sprintf("not between 0 and %d (limits.max_instances of the agent)", want); !strings.Contains(res.Stderr, text) {
		t.Errorf("got %v, want %q", res, text)
	}
}

// newTokens are new ones with the agents' policies, which Consul's client agent knows.
func newTokens(t *testing.T) harness.Tokens {
	t.Helper()
	n, err := stack.NomadToken(t.Context(), "rotated", harness.AgentPolicy)
	harnesstest.Must(t, "make a token", err)
	c, err := stack.ConsulToken(t.Context(), "rotated", harness.AgentPolicy)
	harnesstest.Must(t, "make a token", err)
	return harness.Tokens{Nomad: n.SecretID, Consul: c.SecretID}
}

// revoke deletes tokens, and waits until both refuse them.
func revoke(t *testing.T, tokens harness.Tokens) {
	t.Helper()
	_, err := stack.Nomad.ACLTokens().Delete(accessor(t, tokens.Nomad), nil)
	harnesstest.Must(t, "revoke nomad's token", err)
	all, _, err := stack.Consul.ACL().TokenList(nil)
	harnesstest.Must(t, "list consul's tokens", err)
	for _, tok := range all {
		if tok.SecretID == tokens.Consul {
			_, err = stack.Consul.ACL().TokenDelete(tok.AccessorID, nil)
			harnesstest.Must(t, "revoke consul's token", err)
		}
	}
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, stack.Cluster.NomadAddr+"/v1/acl/token/self", nil)
		if err != nil {
			return err
		}
		req.Header.Set("X-Nomad-Token", tokens.Nomad)
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				err = errors.New("Nomad still knows the token")
			}
		}
		return err
	})
}

// accessor is the ID of a Nomad token.
func accessor(t *testing.T, secret string) string {
	t.Helper()
	all, _, err := stack.Nomad.ACLTokens().List(nil)
	harnesstest.Must(t, "list nomad's tokens", err)
	for _, stub := range all {
		token, _, err := stack.Nomad.ACLTokens().Info(stub.AccessorID, nil)
		harnesstest.Must(t, "read a token", err)
		if token.SecretID == secret {
			return stub.AccessorID
		}
	}
	t.Fatalf("Nomad has no such token")
	return ""
}
