package control_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
)

// eventLog is a fake of the stored events.
type eventLog struct {
	mu     sync.Mutex
	events []wadi.Event
	err    error
	writes int
}

func (l *eventLog) Load(context.Context) ([]wadi.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]wadi.Event(nil), l.events...), l.err
}

func (l *eventLog) Append(_ context.Context, events []wadi.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.events = append(l.events, events...)
		l.writes++
	}
	return l.err
}

func (l *eventLog) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *eventLog) messages() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return messages(l.events)
}

func messages(events []wadi.Event) string {
	var all []string
	for _, e := range events {
		all = append(all, e.Message)
	}
	return strings.Join(all, " ")
}

// keep runs a keeper for one term; the returned function ends it.
func keep(t *testing.T, e *control.Events, log *eventLog) (end func()) {
	t.Helper()
	e.Begin(func(service string) string { return "ns-of-" + service })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	k := &control.EventKeeper{Events: e, Stored: log, Log: hclog.NewNullLogger()}
	go func() { done <- k.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func add(e *control.Events, message string) { e.Add("hello", "", "Scaled", message) }

// since are the messages from an index on.
func since(e *control.Events, index uint64) string {
	events, _, _ := e.Since(index)
	return messages(events)
}

// The next leader has the events of the one before, with larger indexes for its own.
func TestEventKeeper_Terms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &eventLog{}
		var one, two control.Events
		end := keep(t, &one, log)
		add(&one, "a") // Before or after it is loaded.
		time.Sleep(5 * time.Second)
		add(&one, "b")
		add(&one, "c")
		end()
		if got := log.messages(); got != "a b c" {
			t.Errorf("stored: %s", got)
		}
		lastOfOne := log.events[2].Index
		two.Add("hello", "", "Woken", "of a follower, which nobody saw")
		end = keep(t, &two, log)
		add(&two, "d")
		time.Sleep(5 * time.Second)
		if got := since(&two, 0); got != "a b c d" {
			t.Errorf("the next leader has %s", got)
		}
		if got := since(&two, lastOfOne+1); got != "d" {
			t.Errorf("after c: %s", got)
		}
		if got := since(&two, 1<<60); got != "a b c d" {
			t.Errorf("after an index that never was: %s", got)
		}
		end()
		if e := log.events[3]; e.Index < lastOfOne+1000 || e.Namespace != "ns-of-hello" {
			t.Errorf("got %+v after %d", e, lastOfOne)
		}
	})
}

// While Consul is away events wait, and readers of a new leader too.
func TestEventKeeper_ConsulAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &eventLog{err: errors.New("no cluster leader")}
		var e control.Events
		end := keep(t, &e, log)
		add(&e, "a")
		time.Sleep(time.Minute)
		if got := since(&e, 0); got != "" || !e.Loading() {
			t.Errorf("before the stored events are read: %q", got)
		}
		log.fail(nil)
		time.Sleep(5 * time.Second)
		log.fail(errors.New("no cluster leader"))
		add(&e, "b")
		time.Sleep(time.Minute)
		if got := since(&e, 0); got != "a b" || e.Loading() {
			t.Errorf("got %q", got)
		}
		log.fail(nil)
		time.Sleep(5 * time.Second)
		if got := log.messages(); got != "a b" {
			t.Errorf("stored: %q", got)
		}
		end()
	})
}

// Many events are few writes, and none is none.
func TestEventKeeper_Writes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &eventLog{}
		var e control.Events
		end := keep(t, &e, log)
		for range 1000 {
			add(&e, "x")
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		end()
		if log.writes > 12 || len(log.events) != 1000 {
			t.Errorf("%d writes of %d events within 10 s", log.writes, len(log.events))
		}
	})
}

// However many and large events are, what is kept is bounded.
func TestEvents_Bounds(t *testing.T) {
	var e control.Events
	for range 5000 {
		add(&e, strings.Repeat("x", 1<<20))
	}
	events, next, _ := e.Since(0)
	if len(events) != 1000 || next != 5001 || events[0].Index != 4001 {
		t.Errorf("%d events from %d, next %d", len(events), events[0].Index, next)
	}
	if n := len(events[0].Message); n > 1<<10+3 {
		t.Errorf("a message has %d bytes", n)
	}
	if diff := cmp.Diff(uint64(5000), events[999].Index); diff != "" {
		t.Error(diff)
	}
	add(&e, "x"+strings.Repeat("é", 1<<10)) // The bound is within a character.
	if events, _, _ := e.Since(5001); len(events) != 1 || !utf8.ValidString(events[0].Message) {
		t.Errorf("got %+q", fmt.Sprint(events))
	}
}
