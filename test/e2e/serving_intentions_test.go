//go:build e2e

package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	consul "github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Foreign intentions that keep Wadi out are reported, with what to add, until they admit
// it; the service is ready meanwhile.
func TestServing_ForeignIntentions(t *testing.T) {
	t.Parallel()
	const name = "walled"
	stack.Deploy(t, hello(name, options{mesh: true, scale: "initial = 0"}))
	entries := stack.Consul.ConfigEntries()
	set := func(sources ...*consul.SourceIntention) {
		t.Helper()
		_, _, err := entries.Set(&consul.ServiceIntentionsConfigEntry{Kind: consul.ServiceIntentions, Name: name, Sources: sources}, nil)
		harnesstest.Must(t, "write intentions", err)
	}
	source := func(name string, action consul.IntentionAction) *consul.SourceIntention {
		return &consul.SourceIntention{Name: name, Action: action}
	}
	want := func(ok bool, text string) {
		t.Helper()
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
			s, err := stack.Agent.Client.Service(t.Context(), name)
			if err != nil {
				return err
			}
			for _, c := range s.Status.Conditions {
				if c.Type == "CallersAllowed" && c.OK == ok && strings.Contains(c.Message, text) && s.Phase == string(wadi.Ready) {
					return nil
				}
			}
			return fmt.Errorf("%s, conditions are %+v, want one that is %v and says %q", s.Phase, s.Status.Conditions, ok, text)
		})
	}
	doctor := func() string {
		t.Helper()
		ran, err := stack.Agent.Wadi(t.Context(), t.TempDir(), "doctor")
		harnesstest.Must(t, "run the doctor", err)
		return ran.Stdout
	}
	want(true, "")
	set(source("*", consul.IntentionActionDeny))
	t.Cleanup(func() {
		if _, err := entries.Delete(consul.ServiceIntentions, name, nil); err != nil {
			t.Error(err)
		}
	})
	want(false, "wadi-activator and wadi-gateway")
	line := `Consul's intentions refuse wadi-activator and wadi-gateway for walled -> add { Name = "wadi-activator" Action = "allow" }`
	if got := doctor(); !strings.Contains(got, line) {
		t.Errorf("the doctor does not say %q:\n%s", line, got)
	}
	set(source("*", consul.IntentionActionDeny), source("wadi-activator", consul.IntentionActionAllow))
	want(false, "refuse wadi-gateway for")
	set(source("*", consul.IntentionActionDeny), source("wadi-activator", consul.IntentionActionAllow), source("wadi-gateway", consul.IntentionActionAllow))
	want(true, "")
	if got := doctor(); strings.Contains(got, "service "+name) {
		t.Errorf("the doctor still complains:\n%s", got)
	} else if n := strings.Count(got, "it is healthy"); n != 1 {
		t.Errorf("the doctor has asked the one agent %d times, want once:\n%s", n, got)
	}
}
