package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/nomad"
)

const (
	logRefresh = 2 * time.Second  // Between two looks for new instances.
	logTimeout = 30 * time.Second // Of one of them.

	maxLogInstances = nomad.MaxLogs / 2 // At a time: each has two logs.
)

// logWatch shows the logs of a service's instances.
type logWatch struct {
	*call
	logOptions
	client *api.Client
	logs   *nomad.Logs
	outage outage

	namespace string
	seen      map[string]*shownInstance // By ID.
	refreshed bool                      // The first refresh is done: what is new now is shown whole.
	crowded   bool                      // It was said that there are too many instances.

	streams  sync.WaitGroup
	printing sync.Mutex // Guards both outputs and failure.
	failure  error      // The first of a stream.
}

// shownInstance is an instance that needs no further attention, unless it ends.
type shownInstance struct {
	cancel context.CancelFunc // nil: its logs are not shown.
	ended  int                // How many refreshes have found it ended.
}

// refresh starts to show instances that are new, and ends logs of those that have ended.
func (w *logWatch) refresh(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	s, err := w.client.Service(within, w.args[0])
	if err != nil {
		return orUnavailable(err)
	}
	if !w.refreshed { // Later the logs read them.
		w.namespace = s.Service.Namespace
		w.task = cmp.Or(w.task, s.Service.ServingTask)
	}
	var all []nomad.Instance
	for _, job := range jobsOf(s) {
		is, err := w.logs.Instances(within, w.namespace, job)
		if err != nil {
			return nomadError{orUnavailable(err)}
		}
		all = append(all, is...)
	}
	if !w.refreshed {
		if err := w.hideOld(s, all); err != nil {
			return err
		}
	}
	w.endEnded(all)
	w.startNew(ctx, all)
	w.refreshed = true
	return nil
}

// orUnavailable is err, where an answer that takes too long is none.
func orUnavailable(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: no answer within %s", wadi.ErrUnavailable, logTimeout)
	}
	return err
}

// nomadError is Nomad's, not the agent's.
type nomadError struct{ error }

func (e nomadError) Unwrap() error { return e.error }

// remedied is an error with what to do about it, if it is Nomad's.
func (w *logWatch) remedied(err error) error {
	var theirs nomadError
	switch {
	case !errors.As(err, &theirs):
		return err
	case errors.Is(err, wadi.ErrUnavailable):
		return fmt.Errorf("%v (Nomad is sought at %s; name another address with -nomad-address or NOMAD_ADDR)", err, w.nomadAddress)
	case errors.Is(err, wadi.ErrForbidden):
		return fmt.Errorf("%v (the token needs read-job and read-logs in namespace %q of Nomad)", err, w.namespace)
	}
	return err
}

// jobsOf are the Nomad jobs of a service's revisions, oldest first.
func jobsOf(s api.Service) []string {
	var jobs []string
	for _, r := range s.Status.Revisions {
		jobs = append(jobs, r.ID)
	}
	if len(jobs) == 0 && s.Latest != "" {
		jobs = append(jobs, s.Latest)
	}
	slices.Sort(jobs)
	return jobs
}

// hideOld marks the instances whose logs are not shown. It refuses a task that no instance
// has.
func (w *logWatch) hideOld(s api.Service, all []nomad.Instance) error {
	shown := firstShown(all)
	known, has := map[string]bool{}, false
	for _, i := range all {
		if !slices.ContainsFunc(shown, func(o nomad.Instance) bool { return o.ID == i.ID }) {
			w.seen[i.ID] = &shownInstance{}
		}
		for name := range i.Tasks {
			known[name] = true
		}
		_, hasTask := i.Tasks[w.task]
		has = has || hasTask
	}
	if len(known) > 0 && !has {
		return fmt.Errorf("no instance of %s has a task %q; there are %s", s.Service.Name, w.task, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	switch {
	case len(shown) == 0 && w.follow:
		w.notice("%s has no instance now; waiting for one.", s.Service.Name)
	case len(shown) == 0:
		w.notice("%s has no instance, and Nomad has none of its earlier ones any more. With -follow this command waits for one.", s.Service.Name)
	}
	return nil
}

// firstShown selects the instances that run, or else the one that ended last.
func firstShown(all []nomad.Instance) []nomad.Instance {
	running := slices.DeleteFunc(slices.Clone(all), func(i nomad.Instance) bool { return i.Ended })
	if len(running) > 0 || len(all) == 0 {
		return running
	}
	return []nomad.Instance{slices.MaxFunc(all, func(a, b nomad.Instance) int { return cmp.Compare(a.Created, b.Created) })}
}

// endEnded ends the logs of instances that have ended, one refresh later: until then their
// last lines have come. Nomad itself never ends a log that is followed.
func (w *logWatch) endEnded(all []nomad.Instance) {
	there := map[string]bool{}
	for _, i := range all {
		there[i.ID] = !i.Ended
	}
	for id, shown := range w.seen {
		if there[id] {
			continue
		}
		if shown.ended++; shown.ended == 2 && shown.cancel != nil {
			shown.cancel()
			shown.cancel = nil
		}
		if _, listed := there[id]; !listed && shown.cancel == nil {
			delete(w.seen, id)
		}
	}
}

// startNew shows the instances whose task has started and that were not there before.
func (w *logWatch) startNew(ctx context.Context, all []nomad.Instance) {
	open := 0
	for _, shown := range w.seen {
		if shown.cancel != nil {
			open++
		}
	}
	for _, i := range all {
		if w.seen[i.ID] != nil || !i.Tasks[w.task] {
			continue
		}
		if open >= maxLogInstances {
			if !w.crowded {
				w.notice("There are more than %d instances; the logs of some are not shown.", maxLogInstances)
			}
			w.crowded = true
			return
		}
		open++
		within, cancel := context.WithCancel(ctx)
		w.seen[i.ID] = &shownInstance{cancel: cancel}
		for _, stream := range []string{nomad.Stdout, nomad.Stderr} {
			l := &logStream{logWatch: w, instance: i, stream: stream, whole: w.refreshed}
			if w.follow {
				w.streams.Go(func() { l.run(within) })
				continue
			}
			l.run(within) // One after the other, so that they are in order.
		}
	}
}

// failed is why a log could not be shown.
func (w *logWatch) failed() error {
	w.printing.Lock()
	defer w.printing.Unlock()
	return w.failure
}

// end ends all logs.
func (w *logWatch) end() {
	for _, shown := range w.seen {
		if shown.cancel != nil {
			shown.cancel()
		}
	}
	w.streams.Wait()
}

// logLine is one line in the JSON output.
type logLine struct {
	Service  string `json:"service"`
	Revision string `json:"revision"`
	Instance string `json:"instance"`
	Task     string `json:"task"`
	Stream   string `json:"stream"`
	Line     string `json:"line"`
}

// print prints lines of one log, together.
func (w *logWatch) print(i nomad.Instance, stream string, lines []string) {
	w.printing.Lock()
	defer w.printing.Unlock()
	prefix := i.Job + "/" + shortID(i.ID)
	if stream == nomad.Stderr {
		prefix += " stderr"
	}
	for _, line := range lines {
		if w.json {
			service, _, _ := wadi.SplitRevisionID(i.Job)
			_ = w.printLine(logLine{service, i.Job, i.ID, w.task, stream, line}) // A closed pipe ends the command.
			continue
		}
		w.printf("%s: %s\n", prefix, clean(line))
	}
}
