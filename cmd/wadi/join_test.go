//go:build linux

package main

import (
	"strings"
	"testing"

	"github.com/wadi-run/wadi/internal/consul"
)

func TestWhyNotJoin(t *testing.T) {
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
		got := whyNotJoin(tt.alive, "me", "wadi/", whereabouts{http: "me:1"})
		if (got == "") != (tt.why == "") || !strings.Contains(got, tt.why) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.why)
		}
	}
}
