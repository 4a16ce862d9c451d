package mesh_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network/mesh"
)

func oneTagged(tag string) wadi.Route {
	return route(
		wadi.RouteTarget{Revision: "hello-00001", Weight: wadi.WeightAll},
		wadi.RouteTarget{Revision: "hello-00002", Tag: tag},
	)
}

func TestTags(t *testing.T) {
	c := newRegistry()
	apply(t, c, oneTagged("next"))
	c.wrote(t, "set defaults wadi-activator", "set defaults hello", "set defaults next-hello",
		"set resolver hello", "set splitter hello", "set splitter next-hello", "set router hello", "set router next-hello", "set resolver hello")

	// The tag's splitter refers to its subset until it is gone.
	apply(t, c, one(1))
	c.wrote(t, "set router hello", "delete router next-hello", "delete splitter next-hello", "delete defaults next-hello", "set resolver hello")
	if err := (&mesh.Layer{Entries: c}).Remove(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(maps.Keys(c.entries)); !cmp.Equal(got, []string{"defaults wadi-activator"}) {
		t.Fatalf("left: %v", got)
	}
}

// What is written of a tag is found again by a layer that knows of no tag.
func TestTags_LeaveNothing(t *testing.T) {
	for name, leave := range map[string]func(l *mesh.Layer) error{
		"deleted":  func(l *mesh.Layer) error { return l.Remove(t.Context(), "hello") },
		"mesh off": func(l *mesh.Layer) error { return l.Apply(t.Context(), shapes()["off"]) },
	} {
		for who, layerOf := range map[string]func(l *mesh.Layer) *mesh.Layer{
			"the same": func(l *mesh.Layer) *mesh.Layer { return l },
			"another":  func(l *mesh.Layer) *mesh.Layer { return &mesh.Layer{Entries: l.Entries} },
		} {
			t.Run(name+" by "+who, func(t *testing.T) {
				c := newRegistry()
				l := &mesh.Layer{Entries: c}
				if err := l.Apply(t.Context(), tags()); err != nil {
					t.Fatal(err)
				}
				if err := leave(layerOf(l)); err != nil {
					t.Fatal(err)
				}
				if got := slices.Collect(maps.Keys(c.entries)); !cmp.Equal(got, []string{"defaults wadi-activator"}) {
					t.Errorf("left: %v", got)
				}
			})
		}
	}
}

// A tag that is added by hand with Wadi's mark is found and removed.
func TestTags_Drift(t *testing.T) {
	c := newRegistry()
	apply(t, c, oneTagged("next"))
	delete(c.entries, "router next-hello")
	notProgrammed(t, c, oneTagged("next"), "service-router next-hello is not as it should be")
	apply(t, c, oneTagged("next"))

	managed := *c.entries["defaults next-hello"].(*api.ServiceConfigEntry)
	managed.Name = "old-hello"
	c.entries["defaults old-hello"] = stamped(&managed, 99)
	notProgrammed(t, c, oneTagged("next"), "service-defaults old-hello is not as it should be")
	apply(t, c, oneTagged("next"))
	if c.entries["defaults old-hello"] != nil {
		t.Error("an entry of a tag that the service has not is still there")
	}
}

// A tag's name belongs to the first that routes it, with whichever entry, and even if
// it is another managed service. Foreign intentions for it do not matter.
func TestTags_Foreign(t *testing.T) {
	other := one(1)
	other.Service = "next-hello"
	ofManaged := newRegistry()
	apply(t, ofManaged, other)
	foreign := map[string]api.ConfigEntry{
		"service-defaults next-hello":                         &api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "next-hello", Protocol: "http"},
		"service-resolver next-hello":                         &api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: "next-hello"},
		"service-defaults next-hello (of service next-hello)": ofManaged.entries["defaults next-hello"],
		"service-router next-hello (of service next-hello)":   ofManaged.entries["router next-hello"],
	}
	for want, e := range foreign {
		c := newRegistry()
		c.entries[key(e.GetKind(), e.GetName())] = stamped(e, 7)
		var fe *mesh.ForeignError
		l := &mesh.Layer{Entries: c}
		if err := l.Apply(t.Context(), oneTagged("next")); !errors.As(err, &fe) || !cmp.Equal(fe.Entries, []string{want}) {
			t.Errorf("got %v, want a ForeignError about %s", err, want)
		}
		if err := l.Remove(t.Context(), "hello"); err != nil {
			t.Error(err)
		}
		c.wrote(t)
	}
	c := newRegistry()
	c.entries["intentions next-hello"] = stamped(&api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: "next-hello"}, 7)
	apply(t, c, oneTagged("next"))
}

func notProgrammed(t *testing.T, c *registry, r wadi.Route, want string) {
	t.Helper()
	ok, why, err := (&mesh.Layer{Entries: c}).Programmed(t.Context(), r)
	if ok || err != nil || why != want {
		t.Fatalf("programmed=%v %q (%v), want %q", ok, why, err, want)
	}
}
