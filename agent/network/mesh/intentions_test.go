package mesh_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network/mesh"
)

func intentionsOf(t *testing.T, c *registry) *api.ServiceIntentionsConfigEntry {
	t.Helper()
	e, ok := c.entries["intentions hello"].(*api.ServiceIntentionsConfigEntry)
	if !ok {
		t.Fatal("hello has no intentions")
	}
	copied := stamped(e, e.ModifyIndex).(*api.ServiceIntentionsConfigEntry)
	return copied
}

// Intentions come before routing, and stay as long as an instance may run.
func TestIntentions_FirstAndLast(t *testing.T) {
	c := newRegistry()
	r := with(one(1), allow("web"))
	apply(t, c, r)
	c.wrote(t, "set intentions hello", "set defaults wadi-activator", "set defaults hello",
		"set resolver hello", "set splitter hello", "set router hello", "set resolver hello")
	r.Targets = nil
	apply(t, c, r)
	c.wrote(t, "set resolver hello", "set splitter hello", "set resolver hello")
	if err := (&mesh.Layer{Entries: c}).Remove(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	c.wrote(t, "set resolver hello", "delete router hello", "delete splitter hello", "delete resolver hello", "delete defaults hello", "delete intentions hello")

	apply(t, c, with(one(1), allow("web")))
	apply(t, c, one(1))
	if c.entries["intentions hello"] != nil {
		t.Error("a service that has no intentions any more still has some")
	}
}

// What Consul makes of intentions when it stores them is no difference.
func TestIntentions_AsConsulStoresThem(t *testing.T) {
	c := newRegistry()
	r := with(one(1), allow("web"))
	apply(t, c, r)
	c.writes = nil
	e := intentionsOf(t, c)
	for _, s := range e.Sources {
		s.Precedence, s.Type, s.Namespace, s.Partition = 9, api.IntentionSourceConsul, "default", "default"
	}
	rand.Shuffle(len(e.Sources), func(i, j int) { e.Sources[i], e.Sources[j] = e.Sources[j], e.Sources[i] })
	c.entries["intentions hello"] = e
	apply(t, c, r)
	c.wrote(t)
}

func TestIntentions_Drift(t *testing.T) {
	for name, edit := range map[string]func(e *api.ServiceIntentionsConfigEntry){
		"a source added": func(e *api.ServiceIntentionsConfigEntry) {
			e.Sources = append(e.Sources, &api.SourceIntention{Name: "evil", Action: "allow"})
		},
		"a source of a peer": func(e *api.ServiceIntentionsConfigEntry) { e.Sources[0].Peer = "far" },
		"a source removed":   func(e *api.ServiceIntentionsConfigEntry) { e.Sources = e.Sources[1:] },
		"everybody let in":   func(e *api.ServiceIntentionsConfigEntry) { e.Sources[len(e.Sources)-1].Action = "allow" },
		"one denied":         func(e *api.ServiceIntentionsConfigEntry) { e.Sources[0].Action = "deny" },
		"paths": func(e *api.ServiceIntentionsConfigEntry) {
			e.Sources[0].Action = ""
			e.Sources[0].Permissions = []*api.IntentionPermission{{Action: "allow", HTTP: &api.IntentionHTTPPermission{PathPrefix: "/"}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newRegistry()
			r := with(one(1), allow("web"))
			apply(t, c, r)
			e := intentionsOf(t, c)
			edit(e)
			c.entries["intentions hello"] = e
			c.writes = nil
			notProgrammed(t, c, r, "service-intentions hello is not as it should be")
			apply(t, c, r)
			c.wrote(t, "set intentions hello")
		})
	}
}

// Foreign intentions stay, and block no routing; but what the service's owner
// asked for is not in force, and perhaps the activator is not let in.
func TestIntentions_Foreign(t *testing.T) {
	foreign := &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: "hello",
		Sources: []*api.SourceIntention{{Name: "*", Action: "allow"}}}
	c := newRegistry()
	c.entries["intentions hello"] = stamped(foreign, 7)
	l := &mesh.Layer{Entries: c}
	r := with(one(1), allow("web"))
	for range 2 {
		err := l.Apply(t.Context(), r)
		if !errors.Is(err, wadi.ErrForeign) || !strings.Contains(err.Error(), "take the intentions out of the service's file") {
			t.Fatalf("got %v, want a ForeignError with its remedy", err)
		}
	}
	c.wrote(t, "set defaults wadi-activator", "set defaults hello", "set resolver hello", "set splitter hello", "set router hello", "set resolver hello")
	if ok, why, err := l.Programmed(t.Context(), r); ok || err != nil || !strings.Contains(why, "service-intentions hello") {
		t.Fatalf("programmed=%v %q (%v)", ok, why, err)
	}
	// A service without intentions in its file does not concern them.
	apply(t, c, one(1))
	if err := l.Remove(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	if e := c.entries["intentions hello"]; e == nil || e.GetModifyIndex() != 7 {
		t.Fatalf("somebody else's intentions were touched: %v", e)
	}
}
