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
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Rights are Nomad's: what callers learn about their own rights, and which agents there are.
func TestRights(t *testing.T) {
	c, one := &cluster{}, stack.Agent
	harnesstest.Must(t, "make a namespace", namespace(t, "other"))
	two, err := stack.NewAgent("wadi-2", "")
	harnesstest.Must(t, "configure the second agent", err)
	harnesstest.Must(t, "start the second agent", two.Start(t.Context()))
	t.Cleanup(func() { _ = two.Kill() })
	harnesstest.Must(t, "wait for the second agent", two.WaitLeader(t.Context()))
	ran := run(t, one, harnesstest.Hello("hello", "min = 0", ""), "apply", "-detach", "-token", c.token(t, `namespace "default" { policy = "write" }`).SecretID, "hello.hcl")
	if ran.Code != 0 {
		t.Fatalf("apply: %s", ran)
	}
	t.Cleanup(func() { harnesstest.Must(t, "delete", one.Delete(context.WithoutCancel(t.Context()), "hello")) })
	t.Run("not there and not yours", func(t *testing.T) { oneAnswer(t, c, one) })
	t.Run("unknown tokens", func(t *testing.T) { unknownTokens(t, one) })
	t.Run("scale and delete alone", func(t *testing.T) { alone(t, c, one) })
	t.Run("a revoked token", func(t *testing.T) { revoked(t, c, one) })
	t.Run("an agent is killed", func(t *testing.T) { killed(t, one, two) })
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
		bare := *a
		bare.Tokens = harness.Tokens{}
		if ran := run(t, &bare, "", args...); ran.Code != 1 || !strings.Contains(ran.Stderr, "Set a Nomad token") {
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
	_, err = stack.Nomad.ACLTokens().Delete(token.AccessorID, nil)
	harnesstest.Must(t, "revoke the token", err)
	err = <-ended
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Status != 403 || !strings.Contains(refused.Message, "ACL token not found") {
		t.Errorf("it ended with %v", err)
	}
}

// A hanging agent delays the doctor by seconds, and a killed one is reported.
func killed(t *testing.T, one, two *harness.Agent) {
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
	harnesstest.Must(t, "wait until both are there", harness.Eventually(t.Context(), harnesstest.WaitLong, reported("wadi-2: agent")))
	harnesstest.Must(t, "wait until the second one reports itself well", harness.Eventually(t.Context(), harnesstest.WaitLong, allPass))
	harnesstest.Must(t, "pause the second agent", two.Signal(syscall.SIGSTOP))
	harnesstest.Must(t, "find what hangs", harness.Eventually(t.Context(), harnesstest.WaitLong, reported(hangs, gone)))
	harnesstest.Must(t, "kill the second agent", two.Signal(os.Kill))
	harnesstest.Must(t, "find what is gone", harness.Eventually(t.Context(), harnesstest.WaitLong, reported(gone)))
}
