package nomad_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/nomad"
)

func TestPrefetchJobs(t *testing.T) {
	var filter string
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		filter = r.URL.Query().Get("filter")
		answer(200, `[
			{"ID":"hello-00001-prefetch","Namespace":"shop","JobModifyIndex":7,"Stop":true,"Meta":{"wadi_service":"hello","wadi_prefetch":"hello-00001","wadi_installation":"here"}},
			{"ID":"copy","Meta":{"wadi_service":"hello","wadi_prefetch":"hello-00001","wadi_installation":"here"}},
			{"ID":"hello-00002-prefetch","Meta":{"wadi_service":"other","wadi_prefetch":"hello-00002","wadi_installation":"here"}},
			{"ID":"hello-00003-prefetch","Meta":{"wadi_service":"hello","wadi_prefetch":"hello-00003","wadi_installation":"there"}},
			{"ID":"x-prefetch","Meta":{"wadi_service":"x","wadi_prefetch":"x","wadi_installation":"here"}}]`)(w, r)
	}))
	got, err := c.PrefetchJobs(t.Context(), "here")
	if err != nil {
		t.Fatal(err)
	}
	want := []nomad.PrefetchJob{{Namespace: "shop", ID: "hello-00001-prefetch", Service: "hello", Revision: "hello-00001", Index: 7, Stopped: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if want := `Meta.wadi_installation == "here" and "wadi_prefetch" in Meta`; filter != want {
		t.Errorf("filter %q, want %q", filter, want)
	}
	if got, err := c.PrefetchJobs(t.Context(), ""); err != nil || got != nil {
		t.Errorf("of an unknown installation: %+v, %v", got, err)
	}
}

func TestPrefetched(t *testing.T) {
	const allocs = `[{"NodeID":"n1","NodeName":"a","ClientStatus":"pending","DesiredStatus":"run","CreateTime":5,"TaskStates":{
		"web":{"Events":[{"Type":"Received"},{"Type":"Driver Failure","DisplayMessage":" it failed "},{"Type":"Restarting"}]},
		"envoy":{"Events":[{"Type":"Driver Failure","DisplayMessage":"once"},{"Type":"Started"},{"Type":"Terminated"}]},
		"none":null}},
		{"NodeID":"n2","ClientStatus":"complete","DesiredStatus":"run"}]`
	for _, tt := range []struct {
		name, evals string
		placed      bool
		noRoom      int
	}{
		{"none yet", `[]`, false, 0},
		{"pending", `[{"Status":"complete"},{"Status":"pending"}]`, false, 0},
		{"complete", `[{"Status":"complete","CreateIndex":4,"QueuedAllocations":{"images":0}}]`, true, 0},
		{"blocked", `[{"Status":"blocked","CreateIndex":9},{"Status":"complete","CreateIndex":8,"QueuedAllocations":{"images":2}},{"Status":"complete","CreateIndex":4,"QueuedAllocations":{"images":3}}]`, true, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body := allocs
				if strings.HasSuffix(r.URL.Path, "/evaluations") {
					body = tt.evals
				}
				answer(200, body)(w, r)
			}))
			got, err := c.Prefetched(t.Context(), "shop", "hello-00001-prefetch")
			if err != nil {
				t.Fatal(err)
			}
			want := nomad.Prefetched{Placed: tt.placed, NoRoom: tt.noRoom, Allocs: []nomad.PrefetchAlloc{
				{Node: "a", Created: 5, Status: "pending", Desired: "run", Tasks: []nomad.PrefetchTask{
					{Name: "envoy", Started: true}, {Name: "none"}, {Name: "web", Failure: "it failed"},
				}},
				{Node: "n2", Status: "complete", Desired: "run"},
			}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// An error is never an answer without jobs, nodes or evaluations.
func TestPrefetch_Errors(t *testing.T) {
	c := client(t, answer(500, "No cluster leader"))
	if _, err := c.PrefetchJobs(t.Context(), "here"); !errors.Is(err, wadi.ErrUnavailable) {
		t.Errorf("list: %v", err)
	}
	if _, err := c.Prefetched(t.Context(), "default", "hello-00001-prefetch"); !errors.Is(err, wadi.ErrUnavailable) {
		t.Errorf("read: %v", err)
	}
	if err := c.RegisterPrefetch(t.Context(), []byte(`{"ID":"hello-00001-prefetch"}`)); !errors.Is(err, wadi.ErrUnavailable) {
		t.Errorf("register: %v", err)
	}
	c = client(t, answer(500, "Enforcing job modify index 0: job exists with conflicting job modify index: 7"))
	if err := c.RegisterPrefetch(t.Context(), []byte(`{"ID":"hello-00001-prefetch"}`)); !errors.Is(err, wadi.ErrConflict) {
		t.Errorf("register over another: %v", err)
	}
}

// A job that fetches images is one of its installation, so that the doctor names it where
// no service has it; a copy is not.
func TestInstalledJobs_OfImages(t *testing.T) {
	c := client(t, answer(200, `[
		{"ID":"hello-00001-prefetch","Namespace":"shop","Meta":{"wadi_service":"hello","wadi_prefetch":"hello-00001","wadi_installation":"there"}},
		{"ID":"hello-00002-prefetch","Stop":true,"Meta":{"wadi_service":"hello","wadi_prefetch":"hello-00002","wadi_installation":"there"}},
		{"ID":"copy","Meta":{"wadi_service":"hello","wadi_prefetch":"hello-00001","wadi_installation":"there"}}]`))
	got, err := c.InstalledJobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].ID != "hello-00001-prefetch" || got[0].Service != "hello" || got[0].Namespace != "shop" || got[0].Installation != "there" {
		t.Errorf("got %+v, want the one that is no copy", got)
	}
}
