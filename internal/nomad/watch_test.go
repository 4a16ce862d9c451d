package nomad_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/nomad"
)

func TestWatch_LifeOfAnInstance(t *testing.T) {
	c, lines := newCluster(), recorded(t)
	w := watch(t, c, true)

	got, appears := w.Endpoints("", "hello-00001")
	if len(got) != 0 {
		t.Fatalf("got %v before anything happened", got)
	}
	c.say(t, upTo(t, lines, 0, 16)...) // Registered, scaled to 1, placed.
	select {
	case <-appears:
	case <-time.After(time.Minute):
		t.Fatal("the appearance of a revision was not told")
	}
	placed := until(t, w, "hello-00001", func(es []wadi.Endpoint) bool { return len(es) == 1 })[0]
	want := wadi.Endpoint{
		Revision: "hello-00001", Service: "hello", Instance: "0e03e9b0-ed67-d2be-96cf-cc9489e50460",
		Namespace: "default", Node: "57139c05-1d6d-3ba9-00e8-18c46f807040",
		Addr: "127.0.0.1:22032", Metrics: "127.0.0.1:26042", Created: 1795356767146262473,
	}
	if d := cmp.Diff(want, placed); d != "" {
		t.Fatal(d)
	}
	if j, ok := w.Job("default", "hello-00001"); !ok || j.Count != 1 || j.JobModifyIndex != 13 || j.Stopped {
		t.Fatalf("job is %+v", j)
	}

	anything := w.Changed()
	c.say(t, upTo(t, lines, 16, 51)...) // Scaled to 0: told to stop.
	until(t, w, "hello-00001", func(es []wadi.Endpoint) bool { return len(es) == 1 && es[0].Stopping && !es[0].Ended })
	<-anything
	if j, _ := w.Job("", "hello-00001"); j.Count != 0 || j.JobModifyIndex != 48 {
		t.Fatalf("job is %+v", j)
	}

	for _, l := range upTo(t, lines, 51, 53) { // Ended by a signal, as most are.
		c.say(t, strings.ReplaceAll(l, `"exit_code":"0"`, `"exit_code":"143"`))
	}
	gone := until(t, w, "hello-00001", func(es []wadi.Endpoint) bool { return len(es) == 1 && es[0].Ended })[0]
	if gone.Problem != "" {
		t.Fatalf("an instance that was stopped has a problem: %s", gone.Problem)
	}
	c.say(t, upTo(t, lines, 53, 55)...)
	c.settle(t, w)
	if j, _ := w.Job("", "hello-00001"); !j.Stopped {
		t.Fatal("job is not stopped")
	}
	c.say(t, upTo(t, lines, 55, 99)...) // Purged.
	until(t, w, "hello-00001", func(es []wadi.Endpoint) bool { return len(es) == 0 })
	c.settle(t, w)
	if j, ok := w.Job("", "hello-00001"); ok {
		t.Fatalf("a purged job is %+v", j)
	}
}

func TestWatch_Diagnosis(t *testing.T) {
	c, lines := newCluster(), recorded(t)
	w := watch(t, c, true)
	c.say(t, upTo(t, lines, 0, 24)...)
	c.settle(t, w)
	if got, _ := diagnosed(w, "", "big-00001"); got != "no node fits: memory exhausted on 1 node" {
		t.Fatalf("got %q", got)
	}
	c.say(t, upTo(t, lines, 24, 47)...)
	c.settle(t, w)
	for revision, want := range map[string]string{
		"hello-00001": "",
		"crash-00001": `task web: Exit Code: 3; not restarted: Exceeded allowed attempts 3 in interval 1m0s and mode is "fail"`,
		"nodrv-00001": `task web: failed to launch command with executor: rpc error: code = Unknown desc = binary "/no/such/thing" could not be found; not restarted: Error was unrecoverable`,
		"art-00001": `task web: failed to download artifact "http://127.0.0.1:1/x.zip": getter subprocess failed: exit status 1: failed to download artifact: ` +
			`Get "http://127.0.0.1:1/x.zip": dial tcp 127.0.0.1:1: connect: connection refused; not restarted: Exceeded allowed attempts 3 in interval 1m0s and mode is "fail"`,
	} {
		got, since := diagnosed(w, "", revision)
		if got != want {
			t.Errorf("%s: got %q, want %q", revision, got, want)
		}
		if since.IsZero() != (want == "") {
			t.Errorf("%s: since %v", revision, since)
		}
	}
	// A node joined: the next evaluation places all.
	c.say(t, `{"Index":48,"Events":[{"Topic":"Evaluation","Index":48,"Payload":{"Evaluation":{"ID":"e","JobID":"big-00001","Namespace":"default","Status":"complete","ModifyIndex":48}}}]}`)
	c.settle(t, w)
	if got, since := diagnosed(w, "", "big-00001"); got != "" || !since.IsZero() {
		t.Errorf("diagnosis that is over: %q since %v", got, since)
	}
	es, _ := w.Endpoints("", "crash-00001")
	if len(es) != 1 || es[0].Restarts != 3 || !es[0].Ended || !es[0].Stopping {
		t.Errorf("crashed instance is %+v", es)
	}
}

// An app that exits soon after every start runs for a moment each time. That is one
// diagnosis, which began with its first exit.
func TestWatch_DiagnosisThatComesAndGoes(t *testing.T) {
	c := newCluster()
	w := watch(t, c, true)
	index := 100
	say := func(topic, payload string) {
		t.Helper()
		index++
		c.say(t, fmt.Sprintf(`{"Index":%d,"Events":[{"Topic":%q,"Index":%[1]d,"Payload":{%q:`+payload+`}}]}`, index, topic, topic, index))
		c.settle(t, w)
	}
	job := func(count int) {
		t.Helper()
		say("Job", fmt.Sprintf(`{"ID":"loop-00001","Namespace":"default","JobModifyIndex":%%[4]d,"Meta":{"wadi_service":"loop"},"TaskGroups":[{"Name":"instance","Count":%d}]}`, count))
	}
	alloc := func(status, state string) {
		t.Helper()
		say("Allocation", fmt.Sprintf(`{"ID":"a","JobID":"loop-00001","Namespace":"default","ClientStatus":%q,"DesiredStatus":"run","ModifyIndex":%%[4]d,`+
			`"TaskStates":{"web":{"State":%q,"Events":[{"Type":"Terminated","Time":1,"Details":{"exit_code":"1"},"DisplayMessage":"Exit Code: 1"}]}}}`, status, state))
	}
	job(1)
	alloc("pending", "pending")
	reason, began := diagnosed(w, "", "loop-00001")
	if reason != "task web: Exit Code: 1" {
		t.Fatalf("got %q", reason)
	}
	alloc("running", "running")
	if reason, since := diagnosed(w, "", "loop-00001"); reason == "" || !since.Equal(began) {
		t.Errorf("while it runs for a moment: %q since %v, want since %v", reason, since, began)
	}
	alloc("running", "pending")
	if reason, since := diagnosed(w, "", "loop-00001"); reason == "" || !since.Equal(began) {
		t.Errorf("when it has exited again: %q since %v, want since %v", reason, since, began)
	}
	job(0)
	job(1)
	if reason, since := diagnosed(w, "", "loop-00001"); reason == "" || !since.After(began) {
		t.Errorf("after a count of zero: %q since %v, want after %v", reason, since, began)
	}
}

func TestWatch_ReadsEverythingAgain(t *testing.T) {
	c := newCluster()
	w := watch(t, c, true)

	// The stream breaks; meanwhile all recorded changes happen.
	c.mu.Lock()
	for name, p := range map[string]*string{"jobs": &c.jobs, "allocs": &c.allocs, "evals": &c.evals} {
		b, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		*p = string(b)
	}
	c.index = 47
	var listed []map[string]any // Without an instance that has completed since, as in the list.
	if err := json.Unmarshal([]byte(c.allocs), &listed); err != nil {
		t.Fatal(err)
	}
	listed = slices.DeleteFunc(listed, func(a map[string]any) bool { return a["JobID"] == "art-00001" })
	b, err := json.Marshal(listed)
	if err != nil {
		t.Fatal(err)
	}
	c.allocs = string(b)
	c.counts = map[string]int{"hello-00001": 1, "big-00001": 2, "crash-00001": 1, "art-00001": 1, "nodrv-00001": 1}
	c.mu.Unlock()
	c.say(t, "")

	es := until(t, w, "hello-00001", func(es []wadi.Endpoint) bool { return len(es) == 1 })
	if es[0].Addr != "127.0.0.1:22032" || es[0].Stopping {
		t.Fatalf("endpoint is %+v", es[0])
	}
	if got, _ := diagnosed(w, "", "big-00001"); got != "no node fits: memory exhausted on 1 node" {
		t.Fatalf("diagnosis is %q", got)
	}
	if got, _ := diagnosed(w, "", "crash-00001"); !strings.HasPrefix(got, "task web: Exit Code: 3") {
		t.Fatalf("diagnosis is %q", got)
	}
	for revision, count := range c.counts {
		if j, ok := w.Job("", revision); !ok || j.Count != count {
			t.Fatalf("job %s is %+v, want a count of %d", revision, j, count)
		}
	}

	// Late old events change nothing; new ones are applied.
	lines := recorded(t)
	c.say(t, upTo(t, lines, 0, 30)...)
	c.settle(t, w)
	if es, _ := w.Endpoints("", "art-00001"); len(es) != 0 {
		t.Fatalf("an old event brought an instance back: %+v", es)
	}
	if es, _ := w.Endpoints("", "crash-00001"); len(es) != 1 || !es[0].Ended {
		t.Fatalf("an old event was believed: %+v", es)
	}
	c.say(t, upTo(t, lines, 47, 51)...)
	until(t, w, "hello-00001", func(es []wadi.Endpoint) bool { return len(es) == 1 && es[0].Stopping })
}

func TestWatch_SilenceIsNotNothing(t *testing.T) {
	c := newCluster()
	c.silent = make(chan struct{})
	w := watch(t, c, false)
	late := time.After(time.Minute)
	for opened := 0; opened < 3; { // Each after the previous one gave no heartbeat.
		select {
		case <-w.Synced():
			t.Fatal("synced with a stream that said nothing")
		case <-time.After(10 * time.Millisecond):
		case <-late:
			t.Fatalf("opened %d streams, want another after the first gave no heartbeat", opened)
		}
		c.mu.Lock()
		opened = c.opened
		c.mu.Unlock()
	}
	c.mu.Lock()
	close(c.silent)
	c.silent = nil
	c.mu.Unlock()
	select {
	case <-w.Synced():
	case <-time.After(time.Minute):
		t.Fatal("not synced though the stream speaks")
	}
}

// Any user may submit a job of any ID in a namespace with the right to: such a job is
// never mistaken for the one in the service's namespace.
func TestWatch_OneIDInTwoNamespaces(t *testing.T) {
	c := newCluster()
	w := watch(t, c, true)
	index := 10
	job := func(namespace string, count int) {
		t.Helper()
		index++
		c.say(t, fmt.Sprintf(`{"Index":%d,"Events":[{"Topic":"Job","Index":%[1]d,"Payload":{"Job":{"ID":"hello-00001","Namespace":%q,"CreateIndex":%[1]d,"JobModifyIndex":%[1]d,"Meta":{"wadi_service":"hello"},"TaskGroups":[{"Name":"instance","Count":%[3]d}]}}}]}`,
			index, namespace, count))
	}
	alloc := func(namespace, id string) {
		t.Helper()
		index++
		c.say(t, fmt.Sprintf(`{"Index":%d,"Events":[{"Topic":"Allocation","Index":%[1]d,"Payload":{"Allocation":{"ID":%q,"JobID":"hello-00001","Namespace":%q,"DesiredStatus":"run","ClientStatus":"running","CreateIndex":%[1]d,"ModifyIndex":%[1]d}}}]}`,
			index, id, namespace))
	}
	job("other", 7)
	alloc("other", "theirs")
	job("default", 1)
	alloc("default", "ours")
	job("other", 0)
	c.say(t, fmt.Sprintf(`{"Index":%d,"Events":[{"Topic":"Job","Index":%[1]d,"Payload":{"Deleted":true,"Job":{"ID":"hello-00001","Namespace":"other"}}}]}`, index+1))
	index++
	job("other", 9)
	alloc("other", "theirs again")
	c.settle(t, w)
	for namespace, want := range map[string]struct {
		count    int
		instance string
	}{"default": {1, "ours"}, "other": {9, "theirs again"}} {
		if j, _ := w.Job(namespace, "hello-00001"); j.Count != want.count {
			t.Errorf("%s: count is %d, want %d", namespace, j.Count, want.count)
		}
		if es, _ := w.Endpoints(namespace, "hello-00001"); len(es) != 1 || es[0].Instance != want.instance || es[0].Namespace != namespace {
			t.Errorf("%s: instances are %+v, want %q", namespace, es, want.instance)
		}
	}
	if _, ok := w.Job("third", "hello-00001"); ok {
		t.Error("there is a job in a namespace that has none")
	}
}

// A revision's job is known whatever its meta is now; a job without a revision's ID is not
// Wadi's.
func TestWatch_WhichJobs(t *testing.T) {
	c := newCluster()
	w := watch(t, c, true)
	for _, id := range []string{"hello-00001", "plain"} {
		c.say(t, fmt.Sprintf(`{"Index":5,"Events":[{"Topic":"Job","Index":5,"Payload":{"Job":{"ID":%q,"Namespace":"default","JobModifyIndex":5,"TaskGroups":[{"Name":"instance","Count":1}]}}}]}`, id))
	}
	c.settle(t, w)
	if _, ok := w.Job("", "hello-00001"); !ok {
		t.Error("a revision's job is not known, as its meta was edited")
	}
	if _, ok := w.Job("", "plain"); ok {
		t.Error("a foreign job is known")
	}
}

// A job that is registered and placed between the lists is known after the full read.
func TestWatch_PlacedBetweenTheLists(t *testing.T) {
	c := newCluster()
	c.between = func() { // The caller holds the mutex.
		c.jobs = `[{"ID":"hello-00001","Namespace":"default","CreateIndex":6}]`
		c.allocs = `[{"ID":"a","JobID":"hello-00001","Namespace":"default","DesiredStatus":"run","ClientStatus":"running","CreateIndex":7,"ModifyIndex":7}]`
		c.counts["hello-00001"] = 1
		c.index = 8
	}
	w := watch(t, c, true)
	c.say(t,
		`{"Index":6,"Events":[{"Topic":"Job","Index":6,"Payload":{"Job":{"ID":"hello-00001","Namespace":"default","CreateIndex":6,"JobModifyIndex":6,"TaskGroups":[{"Name":"instance","Count":1}]}}}]}`,
		`{"Index":7,"Events":[{"Topic":"Allocation","Index":7,"Payload":{"Allocation":{"ID":"a","JobID":"hello-00001","Namespace":"default","DesiredStatus":"run","ClientStatus":"running","CreateIndex":7,"ModifyIndex":7}}}]}`)
	c.settle(t, w)
	if es, _ := w.Endpoints("", "hello-00001"); len(es) != 1 || !es[0].Running {
		t.Errorf("instances are %+v, want one that runs", es)
	}
}

// Instances of a purged job are not those of a later job with its ID.
func TestWatch_InstancesOfAnEarlierJob(t *testing.T) {
	c := newCluster()
	c.jobs = `[{"ID":"hello-00001","Namespace":"default"}]`
	c.created = 6
	c.allocs = `[{"ID":"old","JobID":"hello-00001","Namespace":"default","DesiredStatus":"run","ClientStatus":"running","CreateIndex":3,"ModifyIndex":4}]`
	c.index = 8
	w := watch(t, c, true)
	if es, _ := w.Endpoints("", "hello-00001"); len(es) != 0 {
		t.Errorf("instances are %+v, want none", es)
	}
}

// Nomad is restored to an older state: its present state counts, though its indexes are
// lower.
func TestWatch_IndexesGoBack(t *testing.T) {
	c := newCluster()
	c.index = 500
	var mu sync.Mutex
	read := map[string]uint64{}
	w := &nomad.Watcher{Client: client(t, c), FirstLine: time.Minute, RestoreCheck: time.Hour, Reread: func(namespace, revision string, index uint64) {
		mu.Lock()
		defer mu.Unlock()
		read[namespace+"/"+revision] = index
	}}
	run(t, w, true)
	c.say(t, `{"Index":501,"Events":[{"Topic":"Job","Index":501,"Payload":{"Job":{"ID":"hello-00001","Namespace":"default","CreateIndex":501,"JobModifyIndex":501,"TaskGroups":[{"Name":"instance","Count":5}]}}}]}`,
		`{"Index":501,"Events":[{"Topic":"Job","Index":501,"Payload":{"Job":{"ID":"later-00001","Namespace":"default","CreateIndex":501,"JobModifyIndex":501}}}]}`)
	c.settle(t, w)
	c.mu.Lock()
	c.index, c.jobs, c.counts["hello-00001"] = 20, `[{"ID":"hello-00001","Namespace":"default"}]`, 2
	c.mu.Unlock()
	c.say(t, "") // The stream breaks.
	c.say(t, `{"Index":21,"Events":[{"Topic":"Job","Index":21,"Payload":{"Job":{"ID":"hello-00001","Namespace":"default","JobModifyIndex":21,"TaskGroups":[{"Name":"instance","Count":3}]}}}]}`)
	c.settle(t, w)
	if j, _ := w.Job("", "hello-00001"); j.Count != 3 || j.JobModifyIndex != 21 {
		t.Errorf("job is %+v, want a count of 3 at index 21", j)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := map[string]uint64{"default/hello-00001": 1, "default/later-00001": 0}; !maps.Equal(read, want) {
		t.Errorf("full reads told of indexes %v, want %v", read, want)
	}
}

// Nomad may keep the stream of a state open that it has thrown away.
func TestWatch_IndexGoesBackInSilence(t *testing.T) {
	c := newCluster()
	c.index, c.jobs, c.counts["hello-00001"] = 500, `[{"ID":"hello-00001","Namespace":"default"}]`, 5
	w := &nomad.Watcher{Client: client(t, c), FirstLine: time.Minute, RestoreCheck: 10 * time.Millisecond}
	run(t, w, true)
	counts := func(want int) func() bool {
		return func() bool { j, _ := w.Job("", "hello-00001"); return j.Count == want }
	}
	soon(t, "the count", counts(5))
	soon(t, "a look at the index", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.looks > 1 }) // The first query is answered.
	c.mu.Lock()
	c.index, c.counts["hello-00001"] = 20, 2
	c.mu.Unlock()
	soon(t, "the count that there is after the restore", counts(2))
	soon(t, "that it is told of again", func() bool { return w.Connected("") })
}

func TestWatch_LongLine(t *testing.T) {
	c := newCluster()
	w := watch(t, c, true)
	c.say(t, fmt.Sprintf(`{"Index":5,"Events":[{"Topic":"Job","Key":"hello-00001","Index":5,"Payload":{"Job":{"ID":"hello-00001","Namespace":"default","JobModifyIndex":5,"Meta":{"wadi_service":"hello","x":%q}}}}]}`,
		strings.Repeat("x", 3<<20)))
	c.settle(t, w)
	if _, ok := w.Job("", "hello-00001"); !ok {
		t.Fatal("a line of 3 MiB was lost")
	}
}

func TestWatch_PurgeWhileRunning(t *testing.T) {
	c, lines := newCluster(), recorded(t)
	w := watch(t, c, true)
	c.say(t, upTo(t, lines, 0, 18)...)
	until(t, w, "hello-00001", func(es []wadi.Endpoint) bool { return len(es) == 1 && es[0].Running })
	// These are all lines that Nomad sends then.
	c.say(t, `{"Index":19,"Events":[{"Topic":"Job","Type":"JobDeregistered","Key":"hello-00001","Index":19,"Payload":{"Deleted":true,"Job":{"ID":"hello-00001","Namespace":"default","JobModifyIndex":13}}}]}`)
	until(t, w, "hello-00001", func(es []wadi.Endpoint) bool { return len(es) == 0 })
	if j, ok := w.Job("", "hello-00001"); ok {
		t.Fatalf("a purged job is %+v", j)
	}
}
