package admission_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/jobspecs"
)

// A revision names the program that the agent has when it is submitted: an upgrade changes
// neither it nor what makes a revision. Where the agent has none, nothing is stored.
func TestSubmit_Download(t *testing.T) {
	b := newBench(t)
	var download jobspecs.Download
	var failure error
	settings := admissiontest.Settings()
	settings.Download = func() (jobspecs.Download, error) { return download, failure }
	b.Set(settings)

	failure = errors.New("no queue-proxy for arm64")
	if _, err := b.Submit(t.Context(), request(spec("hello", "/bin/a"))); !errors.Is(err, failure) {
		t.Errorf("without a program: %v", err)
	}
	b.untouched(t)

	failure = nil
	download = jobspecs.Download{URL: "http://agent/v1/assets/queue-proxy", Sums: map[string]string{"amd64": "old"}}
	b.submit(t, request(spec("hello", "/bin/a")))
	download.Sums = map[string]string{"amd64": "new", "arm64": "arm"}
	if got := b.submit(t, request(spec("hello", "/bin/a"))); got.Services[0].NewRevision {
		t.Error("an upgrade alone makes a revision")
	}
	b.submit(t, request(spec("hello", "/bin/b")))
	revisions, err := b.store.Revisions(t.Context(), "hello")
	if err != nil || len(revisions) != 2 {
		t.Fatalf("%d revisions, %v", len(revisions), err)
	}
	for i, want := range [][]string{{"old"}, {"arm", "new"}} {
		if diff := cmp.Diff(want, revisions[i].Assets); diff != "" {
			t.Errorf("%s (-want +got):\n%s", revisions[i].ID, diff)
		}
		if job := string(revisions[i].Job); !strings.Contains(job, "/v1/assets/queue-proxy/"+want[0]) || strings.Contains(job, "/new") != (i == 1) {
			t.Errorf("job %s", job)
		}
	}
}
