package membership

import (
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/internal/consul"
)

func TestJoinConflict(t *testing.T) {
	m := New(Self{Name: "me", Prefix: "wadi/"}, hclog.NewNullLogger())
	agent := func(name, prefix, at string) consul.Instance {
		in := listed(name, "b", true)
		in.Meta[consul.MetaHTTP] = at
		if prefix != "" {
			in.Meta[consul.MetaPrefix] = prefix
		}
		return in
	}
	for _, tt := range []struct {
		name  string
		alive []consul.Instance
		why   string // Part of it; empty: it may join.
	}{
		{"alone", nil, ""},
		{"with others", []consul.Instance{agent("one", "wadi/", "a:1"), agent("two", "wadi/", "b:1")}, ""},
		{"with older ones", []consul.Instance{agent("one", "", "a:1")}, ""},
		{"registered by its last run", []consul.Instance{agent("me", "wadi/", "me:1")}, ""},
		{"registered by its last run with another prefix", []consul.Instance{agent("me", "old/", "me:1")}, ""},
		{"of a name", []consul.Instance{agent("me", "wadi/", "a:1")}, `an agent named "me" is alive on node , with its API at a:1`},
		{"beside another installation", []consul.Instance{agent("one", "test/", "a:1")}, `agent "one" at a:1 belongs to another installation`},
	} {
		got := m.JoinConflict(tt.alive, Location{HTTP: "me:1"})
		if (got == "") != (tt.why == "") || !strings.Contains(got, tt.why) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.why)
		}
	}
}

// Agents of one name differ by node and machine too: every machine has a 127.0.0.1:4747.
func TestLocation(t *testing.T) {
	own := Location{Node: "n1", Machine: "m1", HTTP: "127.0.0.1:4747"}
	for _, tt := range []struct {
		node, machine, http string
		want                bool
	}{
		{"n1", "m1", "127.0.0.1:4747", false},
		{"n1", "", "127.0.0.1:4747", false}, // An earlier version.
		{"n2", "m2", "127.0.0.1:4747", true},
		{"n2", "", "127.0.0.1:4747", true},
		{"n1", "m2", "127.0.0.1:4747", true}, // Both use one Consul agent.
		{"n1", "m1", "127.0.0.1:4748", true},
	} {
		in := consul.Instance{Node: tt.node, Meta: map[string]string{consul.MetaHTTP: tt.http, consul.MetaMachine: tt.machine}}
		if got := own.differs(in); got != tt.want {
			t.Errorf("%+v: got %t, want %t", tt, got, tt.want)
		}
	}
}
