//go:build e2e

package rights_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/policies"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// The rights that an agent needs in Consul, each by itself.
var (
	keys     = policies.Keys(policies.DefaultPrefix).String()
	sessions = policies.Sessions().String()
	nodes    = policies.ConsulNodes().String()
	services = policies.Services(true).String()
	agents   = policies.ConsulAgents().String()
)

func all() []string { return []string{keys, sessions, nodes, services, agents} }

func without(right string) string {
	var out []string
	for _, r := range all() {
		if r != right {
			out = append(out, r)
		}
	}
	return strings.Join(out, "\n")
}

// Rights are Nomad's and Consul's: what callers learn about their own rights, what the
// doctor reports about the agents' rights, and which agents there are.
func TestRights(t *testing.T) {
	c := start(t)
	policy := c.rights(t, "", without(""))
	consulToken := c.consulToken(t, policy)
	own := c.token(t, `namespace "*" { policy = "write" }
		node { policy = "read" }`)
	one := c.agent(t, "wadi-1", own.SecretID, consulToken)
	harnesstest.Must(t, "wait for a leader", one.WaitLeader(t.Context()))
	two := c.agent(t, "wadi-2", own.SecretID, consulToken)
	harnesstest.Must(t, "wait for the second agent", two.WaitLeader(t.Context()))
	ran := run(t, one, harnesstest.Hello("hello", "min = 0", ""), "apply", "-detach", "-token", c.token(t, `namespace "default" { policy = "write" }`).SecretID, "hello.hcl")
	if ran.Code != 0 {
		t.Fatalf("apply: %s", ran)
	}
	t.Run("not there and not yours", func(t *testing.T) { oneAnswer(t, c, one) })
	t.Run("unknown tokens", func(t *testing.T) { unknownTokens(t, one) })
	t.Run("scale and delete alone", func(t *testing.T) { alone(t, c, one) })
	t.Run("a revoked token", func(t *testing.T) { revoked(t, c, one) })
	t.Run("the agent's own", func(t *testing.T) { ownRights(t, c, one, policy) })
	t.Run("an agent is killed", func(t *testing.T) { killed(t, c, one, two) })
}

// patience is what a command prints while it waits.
var patience = regexp.MustCompile(`No answer from the agent yet, [^\n]*\n`)

// A service that a token may not see looks as if it did not exist, to read and to change.
func oneAnswer(t *testing.T, c *cluster, a *harness.Agent) {
	var wg sync.WaitGroup
	for who, rules := range map[string]string{
		"a writer of another":   `namespace "other" { policy = "write" }`,
		"a submitter elsewhere": `namespace "other" { capabilities = ["submit-job"] }`,
	} {
		token := c.token(t, rules).SecretID
		for _, args := range [][]string{{"service", "status"}, {"service", "delete"}, {"service", "scale", "-clear"}} {
			wg.Go(func() {
				as := func(name string) string {
					ran := run(t, a, "", append(append(args[:len(args):len(args)], "-token", token), name)...)
					// How long a command waits on a refusal depends on how many there are.
					return strings.ReplaceAll(patience.ReplaceAllString(ran.String(), ""), name, "NAME")
				}
				there, not := as("hello"), as("nobody")
				if there != not || !strings.Contains(there, "exit code 1") || !strings.Contains(there, "not found, or this token may not know of it") {
					t.Errorf("%s: %v: there is: %s\nthere is not: %s", who, args, there, not)
				}
			})
		}
	}
	wg.Wait()
	// A token with all rights gets the real reason.
	for _, args := range [][]string{{"service", "delete"}, {"service", "scale", "-clear"}} {
		if ran := run(t, a, "", append(append(args[:len(args):len(args)], "-token", management), "nobody")...); ran.Code != 1 || !strings.Contains(ran.Stderr, "Error: service nobody: not found") {
			t.Errorf("%v: %s", args, ran)
		}
	}
	for name, want := range map[string]string{"hello": "Name        hello", "nobody": "Error: service nobody: not found"} {
		if ran := run(t, a, "", "service", "status", "-token", management, name); !strings.Contains(ran.Stdout+ran.Stderr, want) {
			t.Errorf("%s: %s", name, ran)
		}
	}
}

// A token that Nomad does not know is refused; it is not taken as a token without
// services.
func unknownTokens(t *testing.T, a *harness.Agent) {
	for _, args := range [][]string{{"service", "list"}, {"events"}, {"service", "status", "hello"}, {"service", "status", "nobody"}} {
		at := 1
		if args[0] == "service" {
			at = 2
		}
		known := append(append([]string{}, args[:at]...), "-token", unknown)
		if ran := run(t, a, "", append(known, args[at:]...)...); ran.Code != 1 || !strings.Contains(ran.Stderr, "ACL token not found") {
			t.Errorf("%v: %s", args, ran)
		}
		if ran := run(t, a, "", args...); ran.Code != 1 || !strings.Contains(ran.Stderr, "Set a Nomad token") {
			t.Errorf("%v without a token: %s", args, ran)
		}
	}
}

// Scaling needs scale-job and deleting needs submit-job; neither needs the right to read.
func alone(t *testing.T, c *cluster, a *harness.Agent) {
	scaler := c.token(t, `namespace "default" { capabilities = ["scale-job"] }`).SecretID
	reader := c.token(t, `namespace "default" { policy = "read" }`).SecretID
	submitter := c.token(t, `namespace "default" { capabilities = ["submit-job"] }`).SecretID
	ran := run(t, a, "", "service", "scale", "-token", scaler, "-for", "1s", "hello", "0")
	if ran.Code != 0 {
		t.Errorf("scale with scale-job: %s", ran)
	}
	if ran = run(t, a, "", "service", "delete", "-token", reader, "hello"); ran.Code != 1 || !strings.Contains(ran.Stderr, `change in namespace "default"`) {
		t.Errorf("delete with read: %s", ran)
	}
	if ran = run(t, a, harnesstest.Hello("shortlived", "min = 0", ""), "apply", "-detach", "-token", submitter, "hello.hcl"); ran.Code != 0 {
		t.Fatalf("apply with submit-job: %s", ran)
	}
	if ran = run(t, a, "", "service", "delete", "-token", submitter, "shortlived"); ran.Code != 0 || ran.Stdout != "shortlived: gone\n" {
		t.Errorf("delete with submit-job: %s", ran)
	}
	if ran = run(t, a, "", "service", "status", "-token", management, "shortlived"); !strings.Contains(ran.Stderr, "not found") {
		t.Errorf("it was called gone and is there: %s", ran)
	}
}

// A stream of events ends with the reason when its token is revoked.
func revoked(t *testing.T, c *cluster, a *harness.Agent) {
	token := c.token(t, `namespace "default" { policy = "read" }`)
	client, err := api.New(api.Config{Address: "http://" + a.API, Token: token.SecretID})
	harnesstest.Must(t, "make a client", err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began, ended := make(chan bool, 1), make(chan error, 1)
	go func() {
		ended <- client.Events(ctx, api.EventQuery{Service: "hello", Follow: true}, func(wadi.Event) error {
			select {
			case began <- true:
			default:
			}
			return nil
		})
	}()
	select {
	case <-began:
	case err := <-ended:
		t.Fatalf("the stream did not begin: %v", err)
	}
	_, err = c.nomad.ACLTokens().Delete(token.AccessorID, nil)
	harnesstest.Must(t, "revoke the token", err)
	err = <-ended
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Status != 403 || !strings.Contains(refused.Message, "ACL token not found") {
		t.Errorf("it ended with %v", err)
	}
}

// The doctor knows each right of the agent's own token, and blames nothing else.
func ownRights(t *testing.T, c *cluster, a *harness.Agent, policy string) {
	defer c.rights(t, policy, without(""))
	lacks := func(want ...string) error {
		var missing []string
		found := doctor(t, a)
		for _, w := range want {
			ok := false
			for _, f := range found {
				ok = ok || f.Level != "ok" && strings.HasPrefix(f.About, "wadi-1: ") && strings.Contains(f.What+" -> "+f.Remedy, w)
			}
			if !ok {
				missing = append(missing, w)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("%q is not told: %+v", missing, found)
		}
		return nil
	}
	for _, f := range doctor(t, a) {
		if strings.Contains(f.What, "lacks") || strings.Contains(f.What, "does not list") {
			t.Errorf("with all rights: %+v", f)
		}
	}
	for right, want := range map[string][]string{
		keys:     {"lacks write on keys below wadi/", `key_prefix "wadi/"`},
		sessions: {"lacks write on the session", `session_prefix ""`},
		nodes:    {"lacks read on the node", `node_prefix ""`, "does not list it"},
		services: {`lacks write on the service "wadi"`, `lacks write on the service "wadi-activator"`, `service_prefix "wadi"`},
		agents:   {"lacks read on the agent", `agent_prefix ""`},
	} {
		c.rights(t, policy, without(right))
		if err := harness.Eventually(t.Context(), time.Minute, func() error { return lacks(want...) }); err != nil {
			t.Errorf("without %s: %v", right, err)
		}
		if right != keys {
			continue
		}
		err := harness.Eventually(t.Context(), time.Minute, func() error {
			ran := run(t, a, "", "service", "list", "-token", management)
			if ran.Code != 1 || !strings.Contains(ran.Stderr, "its own token lacks a right") || strings.Contains(ran.Stderr, "Set a Nomad token") {
				return errors.New(ran.String())
			}
			return nil
		})
		if err != nil {
			t.Errorf("list without the agent's right to keys: %v", err)
		}
	}
}

// A hanging agent delays the doctor by seconds, and a killed one is reported.
func killed(t *testing.T, c *cluster, one, two *harness.Agent) {
	reported := func(texts ...string) func() error {
		return func() error {
			found := doctor(t, one)
			for _, f := range found {
				for _, text := range texts {
					if strings.Contains(f.About+" "+f.What, text) {
						return nil
					}
				}
			}
			return fmt.Errorf("none of %q is told: %+v", texts, found)
		}
	}
	const gone, hangs = "wadi-2 it is lost since", "does not answer within"
	harnesstest.Must(t, "wait until both are there", harness.Eventually(t.Context(), time.Minute, reported("wadi-2: agent")))
	harnesstest.Must(t, "wait until the second one reports itself well", harness.Eventually(t.Context(), time.Minute, c.allPass))
	harnesstest.Must(t, "pause the second agent", two.Signal(syscall.SIGSTOP))
	harnesstest.Must(t, "find what hangs", harness.Eventually(t.Context(), time.Minute, reported(hangs, gone)))
	harnesstest.Must(t, "kill the second agent", two.Signal(os.Kill))
	harnesstest.Must(t, "find what is gone", harness.Eventually(t.Context(), time.Minute, reported(gone)))
}
