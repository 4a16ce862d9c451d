package mesh_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network/mesh"
)

// preview returns the entries that differ, as text.
func preview(t *testing.T, c *registry, r wadi.Route) (out, foreign []string) {
	t.Helper()
	l := &mesh.Layer{Entries: c}
	all, foreign, err := l.Preview(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		switch {
		case p.Before == nil:
			out = append(out, fmt.Sprintf("add %s %s", p.Kind, p.Name))
		case p.After == nil:
			out = append(out, fmt.Sprintf("delete %s %s", p.Kind, p.Name))
		case !reflect.DeepEqual(p.Before, p.After):
			out = append(out, fmt.Sprintf("edit %s %s", p.Kind, p.Name))
		}
	}
	return out, foreign
}

// A preview is what Apply writes in the end, and writes nothing.
func TestPreview(t *testing.T) {
	c := newRegistry()
	want := func(r wadi.Route, want ...string) {
		t.Helper()
		got, foreign := preview(t, c, r)
		if d := cmp.Diff(want, got); d != "" || len(foreign) > 0 {
			t.Errorf("preview (-want +got):\n%s\nforeign %v", d, foreign)
		}
		c.wrote(t)
	}
	want(one(1), "add service-defaults wadi-activator", "add service-defaults hello", "add service-resolver hello", "add service-splitter hello", "add service-router hello")
	apply(t, c, one(1))
	c.writes = nil
	want(one(1))
	want(one(2), "edit service-resolver hello", "edit service-splitter hello")
	off := one(1)
	off.Mesh = wadi.MeshOff
	for id, r := range off.Revisions {
		r.Mesh = wadi.MeshOff
		off.Revisions[id] = r
	}
	want(off, "delete service-defaults hello", "delete service-resolver hello", "delete service-splitter hello", "delete service-router hello")
}

// What others wrote is named, and not shown.
func TestPreview_Foreign(t *testing.T) {
	c := newRegistry()
	c.entries["router hello"] = &api.ServiceRouterConfigEntry{Kind: api.ServiceRouter, Name: "hello", Meta: map[string]string{"secret": "x"}}
	got, foreign := preview(t, c, one(1))
	if d := cmp.Diff([]string{"service-router hello"}, foreign); d != "" {
		t.Errorf("foreign (-want +got):\n%s", d)
	}
	for _, p := range got {
		if p == "edit service-router hello" {
			t.Errorf("it is shown: %v", got)
		}
	}
}
