//go:build e2e

package attacks_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/test/harness"
)

// A caller with every right in its own namespace gets about another's service exactly what
// it gets about a missing one, whatever it asks, of a leader and of a follower.
func TestAttack_ReadAnothersNamespace(t *testing.T) {
	t.Parallel()
	before := target(t)
	for _, a := range []*harness.Agent{stack.Agent, open} {
		for _, r := range []request{
			{method: "GET", path: "/v1/service/NAME"},
			{method: "GET", path: "/v1/service/NAME/revisions"},
			{method: "GET", path: "/v1/service/NAME/decisions"},
			{method: "GET", path: "/v1/revision/NAME-00001"},
			{method: "GET", path: "/v1/events?service=NAME&follow=false"},
			{method: "DELETE", path: "/v1/service/NAME"},
			{method: "DELETE", path: "/v1/service/NAME?index=1"},
			{method: "PUT", path: "/v1/service/NAME/scale", body: `{"count": 0, "for": "1h"}`},
		} {
			as := func(name string) string {
				asked := r
				asked.path = strings.Replace(r.path, "NAME", name, 1)
				asked.header = []string{"X-Nomad-Token", alice}
				res := ask(t, a, asked)
				return strings.ReplaceAll(fmt.Sprintln(res.Status, res.Body), name, "NAME")
			}
			there, not := as("bobs"), as("nobody")
			if there != not || !strings.HasPrefix(there, "404") {
				t.Errorf("%s %s: of bob's it says %sof none %s", r.method, r.path, there, not)
			}
		}
		for _, path := range []string{"/v1/services", "/v1/events?follow=false"} {
			if res := ask(t, a, request{method: "GET", path: path, header: []string{"X-Nomad-Token", alice}}); res.Status != 200 || strings.Contains(res.Body, "bob") {
				t.Errorf("%s: %d %s", path, res.Status, res.Body)
			}
		}
	}
	unchanged(t, before.Index)
}

// Nothing that alice submits reaches bob's namespace, his name, his domain or his jobs.
func TestAttack_SubmitIntoAnothersNamespace(t *testing.T) {
	t.Parallel()
	before := target(t)
	inner := strings.Replace(in("alice", "thief", ""), "instance {", "instance {\n    namespace = \"bob\"", 1)
	for name, tt := range map[string]struct {
		source string
		status int
	}{
		"his namespace":             {in("bob", "thief", ""), http.StatusForbidden},
		"his name":                  {in("alice", "bobs", ""), http.StatusUnprocessableEntity}, // Names are the whole installation's.
		"his name in his namespace": {in("bob", "bobs", ""), http.StatusForbidden},
		"no namespace":              {in("default", "thief", ""), http.StatusForbidden},
		"a namespace that is none":  {in("nowhere", "thief", ""), http.StatusForbidden},
		"every namespace":           {in("*", "thief", ""), 0},
		"inside the instance":       {inner, 0},
		"his domain":                {in("alice", "thief", `domains = ["bobs.example.com"]`), 0},
		"his host":                  {in("alice", "thief", `domains = ["bobs.wadi.localhost"]`), 0},
		"his revision":              {in("alice", "bobs-00001", ""), 0},
		"one of two":                {in("alice", "honest", "") + in("bob", "thief", ""), http.StatusForbidden},
	} {
		for _, path := range []string{"PUT /v1/services", "POST /v1/services/validate", "POST /v1/services/plan"} {
			method, path, _ := strings.Cut(path, " ")
			res := ask(t, stack.Agent, request{method: method, path: path, body: encoded(tt.source), header: []string{"X-Nomad-Token", alice}})
			if res.Status < 400 || res.Status >= 500 || tt.status != 0 && res.Status != tt.status {
				t.Errorf("%s: %s %s: got %d %s, want %d", name, method, path, res.Status, res.Body, tt.status)
			}
			if strings.Contains(res.Body, "\"bob\"") && !strings.Contains(tt.source, "\"bob\"") {
				t.Errorf("%s: %s %s names bob's namespace: %s", name, method, path, res.Body)
			}
		}
	}
	jobs, _, err := stack.Nomad.Jobs().List(allNamespaces())
	must(t, "list jobs", err)
	for _, j := range jobs {
		if strings.HasPrefix(j.ID, "thief") || strings.HasPrefix(j.ID, "honest") || strings.HasPrefix(j.ID, "bobs") && j.Namespace != "bob" {
			t.Errorf("the attack left %s in %s", j.ID, j.Namespace)
		}
	}
	unchanged(t, before.Index)
}

// An index that was read before a change, or that somebody else's service has, changes
// nothing; nor does one that is no number.
func TestAttack_StolenIndex(t *testing.T) {
	t.Parallel()
	c := clientOf(t, alice)
	first, err := c.Apply(t.Context(), submission(in("alice", "indexed", "")))
	must(t, "submit", err)
	t.Cleanup(func() { _, _ = clientOf(t, alice).Delete(t.Context(), "indexed", 0, 0) })
	second, err := c.Apply(t.Context(), submission(in("alice", "indexed", "meta = { a = \"b\" }")))
	must(t, "submit a change", err)
	stolen, now := first.Services[0].Index, second.Services[0].Index
	bobs := target(t).Index
	for _, index := range []uint64{stolen, bobs, 1, now + 1, 1<<64 - 1} {
		s := submission(in("alice", "indexed", "meta = { a = \"stale\" }"))
		s.CheckIndex = map[string]uint64{"indexed": index}
		if _, err := c.Apply(t.Context(), s); err == nil || !strings.Contains(err.Error(), "index") {
			t.Errorf("submitted at index %d of %d: %v", index, now, err)
		}
		if _, err := c.Delete(t.Context(), "indexed", index, 0); err == nil {
			t.Errorf("deleted at index %d of %d", index, now)
		}
	}
	for _, index := range []string{"-1", "1e3", "0x10", "18446744073709551616", "%00", "1;2", strings.Repeat("9", 4000)} {
		if res := ask(t, stack.Agent, request{method: "DELETE", path: "/v1/service/indexed?index=" + index, header: []string{"X-Nomad-Token", alice}}); res.Status != 400 {
			t.Errorf("index %.20s: got %d %s", index, res.Status, res.Body)
		}
	}
	got, err := c.Service(t.Context(), "indexed")
	if err != nil || got.Deleting || got.Index != now {
		t.Errorf("it has changed: %+v, %v", got, err)
	}
}

// unchanged fails the test if bob's service is not as it was.
func unchanged(t *testing.T, index uint64) {
	t.Helper()
	s, err := clientOf(t, bob).Service(t.Context(), "bobs")
	must(t, "read bob's service", err)
	if diff := cmp.Diff([]any{index, false, 0}, []any{s.Index, s.Deleting, len(s.Overrides)}); diff != "" {
		t.Errorf("bob's service has changed (-before +after):\n%s", diff)
	}
}
