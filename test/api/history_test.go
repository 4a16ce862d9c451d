//go:build e2e

package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/store"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// eventsOf are the events of a service, by their index.
func eventsOf(t *testing.T, service string) map[uint64]wadi.Event {
	t.Helper()
	all := map[uint64]wadi.Event{}
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { // A new leader has to read them first.
		return stack.Agent.Client.Events(t.Context(), api.EventQuery{Service: service}, func(e wadi.Event) error {
			all[e.Index] = e
			return nil
		})
	})
	return all
}

// waitStored waits until the event that a revision is ready is in Consul.
func waitStored(t *testing.T, revision string) {
	t.Helper()
	client, err := consul.New(consul.Config{Address: stack.Cluster.ConsulAddr})
	harnesstest.Must(t, "open the store", err)
	log := store.New(client, "wadi/", "test", hclog.NewNullLogger()).Writer(consul.Lock{}).EventLog()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		events, err := log.Load(t.Context())
		if err == nil && !slices.ContainsFunc(events, func(e wadi.Event) bool { return e.Type == control.EventReady && e.Revision == revision }) {
			err = fmt.Errorf("%d events, none that %s is ready", len(events), revision)
		}
		return err
	})
}

// follower collects the lines of a command that follows something.
type follower struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (f *follower) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.Write(p)
}

// has waits for a line with all texts.
func (f *follower) has(t *testing.T, texts ...string) {
	t.Helper()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
	lines:
		for line := range strings.Lines(f.text.String()) {
			for _, text := range texts {
				if !strings.Contains(line, text) {
					continue lines
				}
			}
			return nil
		}
		return fmt.Errorf("no line with %q in:\n%s", texts, f.text.String())
	})
}

// following runs a command until the test ends. It must end well when it is interrupted.
func following(t *testing.T, args ...string) *follower {
	t.Helper()
	f, done := &follower{}, make(chan error, 1)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() { done <- stack.Agent.Follow(ctx, f, args...) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("wadi %s: %v", strings.Join(args, " "), err)
		}
	})
	return f
}

// Events are there after the agent was killed and after it was stopped, with the same indexes, and
// a command that follows them misses none.
func TestEvents_SurviveTheirLeader(t *testing.T) {
	stack.Deploy(t, harnesstest.Hello("history", "min = 0", ""))
	feed := following(t, "events", "-follow", "-json", "-service", "history")
	feed.has(t, control.EventReady, "history-00001")
	before := eventsOf(t, "history")
	for i, end := range []func() error{
		func() error { return stack.Agent.Stop(t.Context()) },
		func() error {
			waitStored(t, wadi.RevisionID("history", 3)) // Events of the last second of a killed agent are lost.
			return stack.Agent.Kill()
		},
	} {
		stack.Deploy(t, harnesstest.Hello("history", "min = 0", fmt.Sprintf("concurrency {\n    limit = %d\n  }", i+1))) // One more revision.
		revision := wadi.RevisionID("history", i+2)
		harnesstest.Must(t, "end the agent", end())
		harnesstest.Must(t, "start the agent", stack.Agent.Start(t.Context()))
		harnesstest.Must(t, "wait for the leader", stack.Agent.WaitLeader(t.Context()))
		after := eventsOf(t, "history")
		ready := false
		for index, e := range before {
			if got, ok := after[index]; !ok || got.Message != e.Message || !got.Time.Equal(e.Time) {
				t.Errorf("event %d was %+v, and is %+v", index, e, got)
			}
		}
		for _, e := range after {
			ready = ready || e.Type == control.EventReady && e.Revision == revision
		}
		if !ready {
			t.Errorf("the event that %s is ready is lost: %+v", revision, after)
		}
		feed.has(t, control.EventReady, revision)
		before = after
	}
	stack.Deploy(t, harnesstest.Hello("history", "min = 0", "concurrency {\n    limit = 9\n  }"))
	feed.has(t, control.EventReady, wadi.RevisionID("history", 4)) // Of the new leader.
	for line := range strings.Lines(feed.text.String()) {
		var e wadi.Event
		if err := json.Unmarshal([]byte(line), &e); err == nil && e.Index > 0 && strings.Count(feed.text.String(), fmt.Sprintf(`"index":%d,`, e.Index)) > 1 {
			t.Errorf("event %d was shown twice", e.Index)
		}
	}
}

// A read waits for the next change of its service alone, and ends with it.
func TestBlocking_AService(t *testing.T) {
	stack.Deploy(t, harnesstest.Hello("blocking", "min = 0", ""))
	client := stack.Agent.Client
	settled := func(service string) uint64 { // Its index when it has not changed for a second.
		t.Helper()
		_, index, err := client.ServiceAt(t.Context(), service, api.Query{})
		for err == nil {
			var next uint64
			if _, next, err = client.ServiceAt(t.Context(), service, api.Query{Index: index, Wait: time.Second}); next == index {
				return index
			}
			index = next
		}
		t.Fatal(err)
		return 0
	}
	index := settled("blocking")
	type news struct {
		service api.Service
		index   uint64
		err     error
	}
	wait := func(index uint64) <-chan news {
		done := make(chan news, 1)
		go func() {
			s, next, err := client.ServiceAt(t.Context(), "blocking", api.Query{Index: index, Wait: 5 * time.Minute})
			done <- news{s, next, err}
		}()
		return done
	}
	done := wait(index)
	stack.Deploy(t, harnesstest.Hello("beside", "min = 0", "")) // Its changes are not this one's.
	select {
	case n := <-done:
		t.Errorf("it ended without a change: index %d after %d, %v", n.index, index, n.err)
	default:
	}
	_, err := client.Override(t.Context(), "blocking", "", 2, time.Hour)
	harnesstest.Must(t, "override", err)
	if n := <-done; n.err != nil || n.index <= index || n.service.Overrides[""].Count != 2 {
		t.Errorf("got index %d after %d, overrides %v, %v", n.index, index, n.service.Overrides, n.err)
	}
	index = settled("blocking")
	done = wait(index)
	harnesstest.Must(t, "delete", stack.Agent.Delete(t.Context(), "blocking"))
	n := <-done
	for n.err == nil { // The deletion has steps.
		n = <-wait(n.index)
	}
	if !errors.Is(n.err, wadi.ErrNotFound) {
		t.Errorf("got %v, want not found", n.err)
	}
	harnesstest.Must(t, "apply again", stack.Agent.Apply(t.Context(), harnesstest.Hello("blocking", "min = 0", "")))
	if again := settled("blocking"); again <= index {
		t.Errorf("the index of a new service of that name is %d, after %d", again, index)
	}
}
