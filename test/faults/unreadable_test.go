//go:build e2e

package faults_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	consul "github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Values of a newer Wadi, or unknown ones, are skipped and reported. They do not prevent
// submitting, listing or serving anything else, nor a new leader's term.
func TestUnreadableKeys(t *testing.T) {
	stack.Deploy(t, harnesstest.Hello("plain", `window = "1h"`, ""))
	for key, value := range map[string]string{
		"index/stranger":             `{"schema":9,"kind":"index","data":{}}`,
		"spec/stranger":              `{"schema":9,"kind":"spec","data":{}}`,
		"route/stranger":             "rubbish",
		"domain/odd.test":            "rubbish",
		"status/plain":               "rubbish",
		"revision/plain/plain-00000": `{"schema":9,"kind":"revision","data":{}}`,
	} {
		_, err := stack.Consul.KV().Put(&consul.KVPair{Key: "wadi/" + key, Value: []byte(value)}, nil)
		harnesstest.Must(t, "write "+key, err)
		if !strings.HasPrefix(key, "status/") { // The leader writes that again.
			t.Cleanup(func() {
				_, err := stack.Consul.KV().Delete("wadi/"+key, nil)
				harnesstest.Must(t, "remove "+key, err)
			})
		}
	}

	stack.Deploy(t, harnesstest.Hello("after", `window = "1h"`, `domains = ["even.test"]`))
	wantAnswer(t, stack.Agent, "after", "/")
	ran := wadi(t, map[string]string{"odd.hcl": harnesstest.Hello("odd", "", `domains = ["odd.test"]`)}, "apply", "-detach", "odd.hcl")
	if ran.Code != 1 || !strings.Contains(ran.Stderr, "odd.test") {
		t.Errorf("who wants the unreadable domain: got %v, want a refusal that names it", ran)
	}
	if ran := wadi(t, nil, "service", "list"); ran.Code != 0 || !strings.Contains(ran.Stdout, "after") || !strings.Contains(ran.Stdout, "stranger") {
		t.Errorf("list: got %v, want all services in it", ran)
	}
	eventually(t, harnesstest.WaitLong, func() error { // The agent's own report is cached for a while.
		ran := wadi(t, nil, "doctor")
		for _, want := range []string{"values of the routes and the index are not understood", "service stranger", "newer Wadi"} {
			if !strings.Contains(ran.Stdout, want) {
				return fmt.Errorf("the doctor does not say %q: %v", want, ran)
			}
		}
		return nil
	})

	harnesstest.Must(t, "kill the agent", stack.Agent.Kill())
	harnesstest.Must(t, "start it again", stack.Agent.Start(context.WithoutCancel(t.Context())))
	harnesstest.Must(t, "wait for it", stack.Agent.WaitLeader(t.Context()))
	eventually(t, harnesstest.WaitLong, func() error {
		s, err := stack.Agent.Client.Service(t.Context(), "plain")
		if err == nil && (s.Phase != "ready" || !strings.Contains(fmt.Sprint(s.Status.Conditions), "plain-00000")) {
			err = fmt.Errorf("plain is %s: %+v", s.Phase, s.Status.Conditions)
		}
		return err
	})
	wantAnswer(t, stack.Agent, "plain", "/")
	stack.Deploy(t, harnesstest.Hello("last", `window = "1h"`, ""))
}
