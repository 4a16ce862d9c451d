package scheduler_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/wadi-run/wadi/scheduler"
)

func TestSweep(t *testing.T) {
	const grace = 2 * time.Minute
	began := time.Unix(1000, 0)
	job := scheduler.OwnJob{Namespace: "default", ID: "hello-00001", Service: "hello", Index: 7}
	seen := scheduler.Orphans(nil, []scheduler.OwnJob{job}, began)
	if stop, _ := scheduler.Sweep(seen, began, grace); len(stop) != 0 {
		t.Errorf("seen once: %v is stopped", stop)
	}
	late := began.Add(grace)
	if stop, _ := scheduler.Sweep(scheduler.Orphans(seen, []scheduler.OwnJob{job}, late), late, grace); len(stop) != 1 || stop[0].OwnJob != job {
		t.Errorf("seen again after its grace: %v is stopped, want the job", stop)
	}
	again := job
	again.Index = 8
	if stop, _ := scheduler.Sweep(scheduler.Orphans(seen, []scheduler.OwnJob{again}, late), late, grace); len(stop) != 0 {
		t.Errorf("registered since, by a submission that is on its way: %v is stopped", stop)
	}
	if left := scheduler.Orphans(seen, nil, late); len(left) != 0 {
		t.Errorf("stored by now: %v is still an orphan", left)
	}
	var many []scheduler.OwnJob
	for i := range 6 {
		j := job
		j.Service = fmt.Sprint("hello", i)
		many = append(many, j)
	}
	all := scheduler.Orphans(scheduler.Orphans(nil, many, began), many, late)
	if stop, tooMany := scheduler.Sweep(all, late, grace); len(stop) != 0 || !tooMany {
		t.Errorf("six services are gone at once: %v is stopped", stop)
	}
}
