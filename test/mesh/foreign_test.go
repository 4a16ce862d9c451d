//go:build e2e

package mesh_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// A name with foreign entries is refused before anything is registered. Once those entries
// are gone the name can be used.
func TestForeign_BeforeApply(t *testing.T) {
	t.Parallel()
	foreign := foreignEntries(t, "foreign")
	hcl := hello("foreign", options{initial: 1, window: "6s"})
	_, err := stack.Agent.Submit(t.Context(), hcl)
	if err == nil || !strings.Contains(err.Error(), `Consul has a service-defaults "foreign" that is not managed by Wadi`) {
		t.Fatalf("submitted: %v, want it refused for their entry", err)
	}
	wantUntouched(t, foreign)
	if n, err := stack.Count(t.Context(), "foreign-00001"); err != nil || n != -1 {
		t.Errorf("got a job with count %d (%v), want none", n, err)
	}
	for _, e := range []string{consul.ServiceSplitter, consul.ServiceDefaults} {
		_, err := stack.Consul.ConfigEntries().Delete(e, "foreign", nil)
		must(t, "delete entry", err)
	}
	deploy(t, hcl)
	wantProgrammed(t, "foreign")
	stack.ToZero(t, "foreign-00001")
	waitKnown(t, callerA, "foreign")
	wantFrom(t, callerA.Get(t, "foreign", "/"), "foreign-00001")
}

// The same holds for a foreign service whose checks do not pass at the moment.
func TestForeign_Failing(t *testing.T) {
	t.Parallel()
	agent := stack.Consul.Agent()
	must(t, "register foreign", agent.ServiceRegister(&consul.AgentServiceRegistration{
		Name: "foreign-down", Port: 1, Check: &consul.AgentServiceCheck{TTL: "1h", Status: consul.HealthCritical},
	}))
	t.Cleanup(func() { _ = agent.ServiceDeregister("foreign-down") })
	eventually(t, waitLong, func() error { // The catalog gets it after the agent.
		if all, _, err := stack.Consul.Catalog().Service("foreign-down", "", nil); err != nil || len(all) == 0 {
			return fmt.Errorf("%v %v", all, err)
		}
		return nil
	})
	_, err := stack.Agent.Submit(t.Context(), hello("foreign-down", options{}))
	if err == nil || !strings.Contains(err.Error(), `Consul has a service "foreign-down" that is not managed by Wadi`) {
		t.Fatalf("submitted: %v, want it refused for their service", err)
	}
}

// An entry that becomes foreign later stays foreign, and the running instance stays.
func TestForeign_Later(t *testing.T) {
	t.Parallel()
	deploy(t, hello("foreign-late", options{window: "6s"}))
	wantProgrammed(t, "foreign-late")
	busy := startLoad(t, callerA, "foreign-late", "/", 200*time.Millisecond, from("foreign-late-00001"))
	busy.Wait(t, 5)
	waitDirect(t, callerA, "foreign-late")
	foreign := &consul.ServiceSplitterConfigEntry{
		Kind: consul.ServiceSplitter, Name: "foreign-late", Splits: []consul.ServiceSplit{{Weight: 100}},
	}
	_, _, err := stack.Consul.ConfigEntries().Set(foreign, nil)
	must(t, "write entry", err)
	t.Cleanup(func() { _, _ = stack.Consul.ConfigEntries().Delete(consul.ServiceSplitter, "foreign-late", nil) })
	wantForeign(t, "foreign-late", "service-splitter foreign-late")
	eventually(t, waitLong, func() error { // An agent gives its answer again for some seconds.
		ran, err := stack.Agent.Wadi(t.Context(), t.TempDir(), "doctor")
		if err == nil && !strings.Contains(ran.Stdout, "service-splitter foreign-late") {
			err = fmt.Errorf("the doctor does not tell of it: %s", ran)
		}
		return err
	})
	busy.WantAll(t, 5)
	wantStays(t, "foreign-late-00001")
	wantUntouched(t, []consul.ConfigEntry{foreign})

	_, err = stack.Consul.ConfigEntries().Delete(consul.ServiceSplitter, "foreign-late", nil)
	must(t, "delete entry", err)
	wantProgrammed(t, "foreign-late")
	stack.ToZero(t, "foreign-late-00001")
	waitKnown(t, callerA, "foreign-late")
	wantFrom(t, callerA.Get(t, "foreign-late", "/"), "foreign-late-00001")
}

// A service can be deleted though a foreign entry depends on one of Wadi's entries. That
// entry stays, and an event says so.
func TestForeign_Delete(t *testing.T) {
	t.Parallel()
	must(t, "submit", stack.Agent.Apply(t.Context(), hello("foreign-gone", options{window: "6s"}))) // Deleted by hand.
	wantProgrammed(t, "foreign-gone")
	foreign := &consul.ServiceSplitterConfigEntry{
		Kind: consul.ServiceSplitter, Name: "foreign-gone", Splits: []consul.ServiceSplit{{Weight: 100, ServiceSubset: "foreign-gone-00001"}},
	}
	_, _, err := stack.Consul.ConfigEntries().Set(foreign, nil)
	must(t, "write entry", err)
	t.Cleanup(func() { // In the order that Consul permits.
		for _, kind := range []string{consul.ServiceSplitter, consul.ServiceResolver, consul.ServiceDefaults} {
			_, _ = stack.Consul.ConfigEntries().Delete(kind, "foreign-gone", nil)
		}
	})
	ran, err := stack.Agent.Wadi(t.Context(), t.TempDir(), "service", "delete", "foreign-gone")
	must(t, "delete the service", err)
	wantUntouched(t, []consul.ConfigEntry{foreign})
	for _, want := range []string{"Wadi does not manage service-splitter foreign-gone", "delete it, and then service-resolver foreign-gone, service-defaults foreign-gone"} {
		if ran.Code != 0 || !strings.Contains(ran.Stderr, want) {
			t.Errorf("got %v, want %q in it", ran, want)
		}
	}
}

// foreignEntries writes foreign entries with a service's name, and removes them at the
// end.
func foreignEntries(t *testing.T, name string) []consul.ConfigEntry {
	t.Helper()
	entries := []consul.ConfigEntry{
		&consul.ServiceConfigEntry{Kind: consul.ServiceDefaults, Name: name, Protocol: "http"},
		&consul.ServiceSplitterConfigEntry{Kind: consul.ServiceSplitter, Name: name, Splits: []consul.ServiceSplit{{Weight: 100}}},
	}
	for _, e := range entries {
		_, _, err := stack.Consul.ConfigEntries().Set(e, nil)
		must(t, "write entry", err)
		// Deleting a missing entry is no error in Consul.
		t.Cleanup(func() { _, _ = stack.Consul.ConfigEntries().Delete(e.GetKind(), name, nil) })
	}
	return entries
}

// wantUntouched fails the test if entries have changed.
func wantUntouched(t *testing.T, entries []consul.ConfigEntry) {
	t.Helper()
	for _, e := range entries {
		got, _, err := stack.Consul.ConfigEntries().Get(e.GetKind(), e.GetName(), nil)
		must(t, "read entry", err)
		if got.GetCreateIndex() != got.GetModifyIndex() && len(e.GetMeta()) > 0 || len(got.GetMeta()) != len(e.GetMeta()) {
			t.Errorf("got %s %s changed: %+v", e.GetKind(), e.GetName(), got)
		}
	}
}

// network returns the network condition of a service.
func network(t *testing.T, name string) (wadi.Condition, error) {
	t.Helper()
	s, err := stack.Agent.Client.Service(t.Context(), name)
	if err != nil {
		return wadi.Condition{}, err
	}
	for _, c := range s.Status.Conditions {
		if c.Type == "NetworkProgrammed" {
			return c, nil
		}
	}
	return wadi.Condition{}, fmt.Errorf("no condition NetworkProgrammed in %+v", s.Status)
}

// wantForeign waits until the status names the conflicting entries and a remedy.
func wantForeign(t *testing.T, name string, entries ...string) {
	t.Helper()
	eventually(t, waitLong, func() error {
		c, err := network(t, name)
		if err != nil {
			return err
		}
		for _, e := range append(entries, "delete") {
			if c.OK || !strings.Contains(c.Message, e) {
				return fmt.Errorf("got condition %+v, want it false with %q in the message", c, e)
			}
		}
		return nil
	})
}

// wantProgrammed waits until the status says that all entries are written.
func wantProgrammed(t *testing.T, name string) {
	t.Helper()
	eventually(t, waitLong, func() error {
		c, err := network(t, name)
		if err == nil && !c.OK {
			err = fmt.Errorf("got condition %+v, want it true", c)
		}
		return err
	})
}

// wantStays fails the test if a revision without requests goes below one instance within
// two of its windows.
func wantStays(t *testing.T, revision string) {
	t.Helper()
	for end := time.Now().Add(12 * time.Second); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		n, err := stack.Count(t.Context(), revision)
		must(t, "read count", err)
		if n < 1 {
			t.Fatalf("%s has count %d while nobody leads callers back from zero\n%s", revision, n, stack.LogOf(revision, 40))
		}
	}
}
