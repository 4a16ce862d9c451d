package mesh_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network/mesh"
)

// What others wrote is nobody's, and what Wadi wrote has its service, or its activator.
func TestOwned(t *testing.T) {
	c := newRegistry()
	apply(t, c, one(1))
	c.entries["defaults foreign"] = stamped(&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "foreign", Meta: map[string]string{"wadi-service": "foreign"}}, 7)
	got, err := mesh.Owned(t.Context(), c)
	want := map[string][]string{
		"hello":               {"service-defaults hello", "service-resolver hello", "service-splitter hello", "service-router hello"},
		wadi.ServiceActivator: {"service-defaults wadi-activator"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
