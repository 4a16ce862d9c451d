package doctor

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/policies"
)

// To a token without any right in Nomad the doctor names each right of the policy, and the
// rule that gives it.
func TestCheckNomadRights_EachOfThePolicy(t *testing.T) {
	t.Parallel() // A refusal is believed after a second.
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Permission denied", http.StatusForbidden)
	}))
	t.Cleanup(s.Close)
	c, err := nomad.New(nomad.Config{Address: s.URL, Token: "none"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	d := &Doctor{Nomad: c, Namespaces: func() ([]string, bool) { return []string{"team"}, true }}
	found := map[string]string{}
	for _, f := range d.checkNomadRights(t.Context()) {
		right, is := strings.CutPrefix(f.What, "the agent's token lacks ")
		if !is {
			t.Errorf("got %+v", f)
			continue
		}
		right, _, _ = strings.Cut(right, ":")
		right, _, _ = strings.Cut(right, " in ")
		found[right] = f.Remedy
	}
	want := map[string]string{}
	for _, r := range policies.Namespace("team").Rights {
		want[r.Access] = "give it " + policies.Namespace("team").String()
	}
	want["node"] = "give it " + policies.Nodes().String() // node:read, up to its colon.
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Before there is a service the doctor looks at the namespaces in which the token has any
// right, and a token without any is a finding.
func TestCheckNomadRights_NoServices(t *testing.T) {
	t.Parallel() // A refusal is believed after a second.
	listed := `[{"Name":"shop"}]`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/namespaces" {
			_, _ = w.Write([]byte(listed))
			return
		}
		http.Error(w, "Permission denied", http.StatusForbidden)
	}))
	t.Cleanup(s.Close)
	c, err := nomad.New(nomad.Config{Address: s.URL, Token: "none"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	d := &Doctor{Nomad: c, Namespaces: func() ([]string, bool) { return nil, true }}
	if got := d.checkNomadRights(t.Context()); len(got) != 4 || !strings.Contains(got[1].What, `lacks submit-job in the namespace "shop"`) {
		t.Errorf("got %+v", got)
	}
	listed = `[]`
	if got := d.checkNomadRights(t.Context()); len(got) != 1 || !strings.Contains(got[0].What, "no right in any namespace") {
		t.Errorf("got %+v", got)
	}
}

// The token should have the right to routes of services in the mesh, and to intentions of
// those that have some.
func TestServiceRights(t *testing.T) {
	d := &Doctor{Routes: func() map[string]wadi.Route {
		mesh := map[string]wadi.RouteRevision{"x-00001": {Mesh: wadi.MeshEnvoy}}
		return map[string]wadi.Route{"a": {Revisions: mesh}, "b": {Revisions: mesh, Intentions: &wadi.Intentions{}}, "c": {}}
	}}
	var got []string
	for _, r := range d.serviceRights() {
		got = append(got, r.Resource+" "+r.Segment+" "+r.Access)
	}
	if diff := cmp.Diff([]string{"service a write", "service b write", "intention b write"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The doctor asks Consul for a right of each rule of the policy, keys apart: it uses that
// right. Each of its remedies is a rule of the policy, or a part of one.
func TestConsulRights_EachOfThePolicy(t *testing.T) {
	policy := policies.Consul(policies.Options{Prefix: "wadi/"})
	rules := map[string]bool{policies.OwnServices().String(): true}
	want := map[string]bool{}
	for _, r := range policy {
		rules[r.String()] = true
		kind, _, _ := strings.Cut(r.Resource, "_prefix ")
		want[kind] = true
	}
	asked := map[string]bool{"key": true}
	for _, n := range consulRights("a node") {
		asked[n.Resource] = true
		if !rules[n.policy.String()] {
			t.Errorf("the remedy for %s is %s, which no policy has", n, n.policy)
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(asked))); diff != "" {
		t.Errorf("(-policy +asked):\n%s", diff)
	}
}
