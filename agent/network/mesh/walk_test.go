package mesh_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network/mesh"
)

// From any shape to any other, each write is accepted, by a layer that made the
// earlier ones and by a new one. There are intentions whenever there is
// routing, and a request names its revision whenever an activator may get it. In the end
// the entries are those wanted, and another round writes nothing.
func TestAnyShapeToAnyOther(t *testing.T) {
	for _, p := range []wadi.Protocol{wadi.HTTP1, wadi.H2C, wadi.GRPC} {
		t.Run(string(p), func(t *testing.T) {
			seed := rand.Uint64()
			rng := rand.New(rand.NewPCG(seed, 0))
			t.Logf("seed %d", seed)
			all := shapes()
			names := slices.Sorted(maps.Keys(all))
			c := newRegistry()
			l := &mesh.Layer{Entries: c}
			billing := with(one(1), speaks(p), func(r *wadi.Route) { r.Service = "billing" })
			if err := l.Apply(t.Context(), billing); err != nil { // Rules lead there.
				t.Fatal(err)
			}
			was := "nothing"
			for range 150 {
				name := names[rng.IntN(len(names))]
				if rng.IntN(2) == 0 {
					l = &mesh.Layer{Entries: c}
				}
				step(t, c, l, with(all[name], speaks(p)), was+" to "+name)
				was = name
			}
		})
	}
}

func step(t *testing.T, c *registry, l *mesh.Layer, r wadi.Route, what string) {
	t.Helper()
	c.after = func() {
		if r.Intentions != nil && c.entries["router hello"] != nil && c.entries["intentions hello"] == nil {
			t.Errorf("%s: there is a way, and nothing said of who may call", what)
		}
		r, _ := c.entries["resolver hello"].(*api.ServiceResolverConfigEntry)
		s, _ := c.entries["splitter hello"].(*api.ServiceSplitterConfigEntry)
		if r != nil && len(r.Failover) > 0 && (s == nil || s.Splits[0].RequestHeaders.Set[wadi.HeaderService] == "") {
			t.Errorf("%s: after %v requests come to an activator that can't tell whom they are for", what, c.writes)
		}
	}
	if err := l.Apply(t.Context(), r); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	c.after, c.writes = nil, nil
	if err := l.Apply(t.Context(), r); err != nil || len(c.writes) > 0 {
		t.Fatalf("%s: then wrote %v (%v)", what, c.writes, err)
	}
	var got, want []string
	for _, e := range mesh.Render(r) {
		k := key(e.GetKind(), e.GetName())
		want = append(want, k)
		if c.entries[k] == nil || !mesh.Equal(e, c.entries[k]) {
			t.Errorf("%s: %s is not as rendered", what, k)
		}
	}
	for k, e := range c.entries {
		if e.GetName() != wadi.ActivatorOf(r.Protocol) && e.GetName() != "billing" {
			got = append(got, k)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("%s: entries (-want +got):\n%s", what, d)
	}
	if ok, why, err := l.Programmed(t.Context(), r); !ok || err != nil {
		t.Fatalf("%s: not programmed: %s %v", what, why, err)
	}
}
