package mesh_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network/mesh"
)

func apply(t *testing.T, c *registry, r wadi.Route) {
	t.Helper()
	l := &mesh.Layer{Entries: c}
	if err := l.Apply(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if ok, why, err := l.Programmed(t.Context(), r); !ok || err != nil {
		t.Fatalf("not programmed after apply: %s %v", why, err)
	}
}

func TestApply(t *testing.T) {
	c := newRegistry()
	l := &mesh.Layer{Entries: c}
	if ok, why, _ := l.Programmed(t.Context(), one(1)); ok || why == "" {
		t.Fatalf("programmed before anything was written (%q)", why)
	}
	apply(t, c, one(1))
	c.wrote(t, "set defaults wadi-activator", "set defaults hello", "set resolver hello", "set splitter hello", "set router hello", "set resolver hello")
	apply(t, c, one(1))
	c.wrote(t)

	// The new subset is there before the splitter names it, and the old one as
	// long as it does.
	apply(t, c, one(2))
	c.wrote(t, "set resolver hello", "set splitter hello", "set resolver hello")
	r := c.entries["resolver hello"].(*api.ServiceResolverConfigEntry)
	if len(r.Subsets) != 1 || r.DefaultSubset != "hello-00002" {
		t.Fatalf("resolver is %+v", r)
	}

	if err := l.Remove(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	c.wrote(t, "set resolver hello", "delete router hello", "delete splitter hello", "delete resolver hello", "delete defaults hello")
	if err := l.Remove(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	c.wrote(t)
	if len(c.entries) != 1 {
		t.Fatalf("left: %v", c.entries)
	}
}

func TestApply_LeavingTheMesh(t *testing.T) {
	c := newRegistry()
	apply(t, c, one(1))
	r := one(2)
	r.Mesh = wadi.MeshOff
	r.Revisions["hello-00002"] = wadi.RouteRevision{Mesh: wadi.MeshOff}
	apply(t, c, r)
	if len(c.entries) != 1 {
		t.Fatalf("left: %v", c.entries)
	}
}

func TestForeignEntries(t *testing.T) {
	c := newRegistry()
	foreign := &api.ServiceSplitterConfigEntry{Kind: api.ServiceSplitter, Name: "hello", Splits: []api.ServiceSplit{{Weight: 100}}}
	c.entries["splitter hello"] = stamped(foreign, 7)
	l := &mesh.Layer{Entries: c}

	var fe *mesh.ForeignError
	if err := l.Apply(t.Context(), one(1)); !errors.As(err, &fe) {
		t.Fatalf("got %v, want a ForeignError", err)
	}
	if want := []string{"service-splitter hello"}; !cmp.Equal(fe.Entries, want) {
		t.Fatalf("foreign %v, want %v", fe.Entries, want)
	}
	if ok, why, err := l.Programmed(t.Context(), one(1)); ok || err != nil || !strings.Contains(why, "service-splitter hello") {
		t.Fatalf("programmed=%v %q %v", ok, why, err)
	}
	if !strings.Contains(fe.Error(), "delete it, or choose another name") {
		t.Errorf("no remedy in %q", fe)
	}
	if err := l.Remove(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	if got := c.entries["splitter hello"]; got == nil || got.GetModifyIndex() != 7 {
		t.Fatalf("somebody else's entry was touched: %v", got)
	}
	c.wrote(t)
}

// An entry that a foreign one refers to stays, and is reported; all others are deleted.
func TestRemove_NeededByOthers(t *testing.T) {
	for _, tt := range []struct {
		name            string
		foreign         api.ConfigEntry
		managed, writes []string
	}{
		{"a subset",
			&api.ServiceSplitterConfigEntry{Kind: api.ServiceSplitter, Name: "hello", Splits: []api.ServiceSplit{{Weight: 100, ServiceSubset: "hello-00001"}}},
			[]string{"service-resolver hello", "service-defaults hello"},
			[]string{"delete router hello", "delete intentions hello"}},
		{"the protocol",
			&api.ServiceSplitterConfigEntry{Kind: api.ServiceSplitter, Name: "hello", Splits: []api.ServiceSplit{{Weight: 100}}},
			[]string{"service-defaults hello"},
			[]string{"delete router hello", "delete resolver hello", "delete intentions hello"}},
		{"by another name",
			&api.ServiceRouterConfigEntry{Kind: api.ServiceRouter, Name: wadi.ServiceActivator, Routes: []api.ServiceRoute{
				{Destination: &api.ServiceRouteDestination{Service: "hello", ServiceSubset: "hello-00001"}}}},
			[]string{"service-resolver hello", "service-defaults hello"},
			[]string{"set resolver hello", "delete router hello", "delete splitter hello", "delete intentions hello"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newRegistry()
			l := &mesh.Layer{Entries: c}
			if err := l.Apply(t.Context(), with(one(1), allow("web"))); err != nil {
				t.Fatal(err)
			}
			c.writes = nil
			c.entries[key(tt.foreign.GetKind(), tt.foreign.GetName())] = stamped(tt.foreign, 70)
			err := (&mesh.Layer{Entries: c}).Remove(t.Context(), "hello")
			var kept *mesh.KeptError
			if !errors.As(err, &kept) || !errors.Is(err, wadi.ErrForeign) {
				t.Fatalf("got %v, want a KeptError", err)
			}
			want := &mesh.KeptError{Managed: tt.managed, Foreign: []string{tt.foreign.GetKind() + " " + tt.foreign.GetName()}}
			if d := cmp.Diff(want, kept); d != "" {
				t.Error(d)
			}
			c.wrote(t, tt.writes...)
		})
	}
}

// A deletion that fails for no reason that can be seen is tried again.
func TestRemove_Refused(t *testing.T) {
	c := newRegistry()
	if err := (&mesh.Layer{Entries: c}).Apply(t.Context(), one(1)); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("500")
	c.refuse = func(k string) error {
		if k == "resolver hello" {
			return broken
		}
		return nil
	}
	if err := (&mesh.Layer{Entries: c}).Remove(t.Context(), "hello"); !errors.Is(err, broken) || errors.Is(err, wadi.ErrForeign) {
		t.Errorf("got %v, want what Consul said", err)
	}
	c.refuse = nil
	if err := (&mesh.Layer{Entries: c}).Remove(t.Context(), "hello"); err != nil || c.entries["resolver hello"] != nil {
		t.Errorf("got %v, and %v", err, c.entries)
	}
}

func TestDrift(t *testing.T) {
	c := newRegistry()
	apply(t, c, one(1))
	c.wrote(t, "set defaults wadi-activator", "set defaults hello", "set resolver hello", "set splitter hello", "set router hello", "set resolver hello")
	edited := *c.entries["router hello"].(*api.ServiceRouterConfigEntry)
	edited.Routes = nil
	c.entries["router hello"] = stamped(&edited, 99)
	l := &mesh.Layer{Entries: c}
	if ok, why, err := l.Programmed(t.Context(), one(1)); ok || err != nil || why != "service-router hello is not as it should be" {
		t.Fatalf("programmed=%v %q %v", ok, why, err)
	}
	apply(t, c, one(1))
	c.wrote(t, "set router hello")
}

func TestConflictIsReadAgain(t *testing.T) {
	c := newRegistry()
	apply(t, c, one(1))
	c.busy = func() { // Another agent is faster, once.
		c.busy = nil
		apply(t, c, one(2))
	}
	apply(t, c, one(3))
	if d := c.entries["resolver hello"].(*api.ServiceResolverConfigEntry).DefaultSubset; d != "hello-00003" {
		t.Fatalf("default subset %s", d)
	}
}
