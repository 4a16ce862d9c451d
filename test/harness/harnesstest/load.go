package harnesstest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// requestTimeout bounds a request of a load.
const requestTimeout = WaitLong

// Send sends one request of a load and returns the answer's text. An error counts
// as a failed request.
type Send func(context.Context) (string, error)

// Load is a stream of requests until Stop.
type Load struct {
	send   Send
	ctx    context.Context // Ends with Stop.
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu        sync.Mutex     // Guards the fields below.
	answers   map[string]int // Good answers, by their text without the instance.
	instances map[string]int // Good answers, by instance.
	failed    []string       // Messages with the time.
	row       int            // Good answers since the last failure.
	late      int            // Not sent, as too many were waiting.
	slowest   time.Duration
}

func newLoad(t testing.TB, send Send) (*Load, context.Context) {
	ctx, cancel := context.WithCancel(t.Context())
	l := &Load{send: send, ctx: ctx, cancel: cancel, answers: map[string]int{}, instances: map[string]int{}}
	t.Cleanup(l.Stop)
	return l, ctx
}

// StartLoad sends a request every so often, without waiting for answers. While atOnce of
// them are unanswered it sends none: a service that starts slowly on a busy machine must
// not meet hundreds at once.
func StartLoad(t testing.TB, every time.Duration, atOnce int, send Send) *Load {
	t.Helper()
	l, ctx := newLoad(t, send)
	l.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		slots := make(chan struct{}, atOnce)
		for {
			select {
			case slots <- struct{}{}:
				l.done.Go(func() {
					l.one()
					<-slots
				})
			default:
				l.mu.Lock()
				l.late++
				l.mu.Unlock()
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return l
}

// StartWorkers runs n workers. Each sends one request after another, at most one per
// every; 0: without a pause.
func StartWorkers(t testing.TB, n int, every time.Duration, send Send) *Load {
	t.Helper()
	l, ctx := newLoad(t, send)
	for range n {
		l.done.Go(func() {
			tick := time.NewTicker(max(every, 1))
			defer tick.Stop()
			for ctx.Err() == nil {
				l.one()
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
	return l
}

// one sends a request that is completed even when the load is stopped.
func (l *Load) one() {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), requestTimeout)
	defer cancel()
	text, err := l.send(ctx)
	took := time.Since(begin)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowest = max(l.slowest, took)
	if err != nil {
		l.row = 0
		l.failed = append(l.failed, fmt.Sprintf("%s +%v: %v", begin.Format("15:04:05.000"), took.Round(time.Millisecond), err))
		return
	}
	text, instance, _ := strings.Cut(strings.TrimSpace(text), " (instance ")
	l.row++
	l.answers[text]++
	l.instances[instance]++
}

// Answer is the text of an answer with status 200; any other status is an error.
func Answer(res harness.Response, err error) (string, error) {
	if err == nil && res.Status != http.StatusOK {
		err = fmt.Errorf("status %d %q %v", res.Status, res.Body, res.Header)
	}
	return res.Body, err
}

// Getting sends GET requests for url.
func Getting(c *http.Client, url string) Send {
	return func(ctx context.Context) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return "", err
		}
		return Answer(harness.Do(c, req))
	}
}

// Stop ends the load, and returns when all requests are answered.
func (l *Load) Stop() {
	l.cancel()
	l.done.Wait()
}

// Count returns how many good answers have come, and how many requests failed.
func (l *Load) Count() (good, failed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.answers {
		good += n
	}
	return good, len(l.failed)
}

// Answers counts the good answers with this text, without its " (instance …", and the good
// answers with another.
func (l *Load) Answers(text string) (so, others int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, n := range l.answers {
		if k == text {
			so += n
		} else {
			others += n
		}
	}
	return so, others
}

// Instances counts the instances that have answered.
func (l *Load) Instances() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.instances)
}

// Failed lists the failures with their times, oldest first.
func (l *Load) Failed() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.failed)
}

// String summarises the answers.
func (l *Load) String() string {
	good, failed := l.Count()
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d good, %d failed, %d not sent, slowest %v", good, failed, l.late, l.slowest.Round(time.Millisecond))
	for _, k := range slices.Sorted(maps.Keys(l.answers)) {
		fmt.Fprintf(&b, "; %d × %q", l.answers[k], k[:min(len(k), 60)])
	}
	for _, f := range l.failed[:min(5, len(l.failed))] {
		b.WriteString("\n  " + f)
	}
	if n := len(l.failed); n > 5 {
		b.WriteString("\n  last: " + l.failed[n-1])
	}
	return b.String()
}

// Wait waits until n more good answers have come, and fails the test if a request fails.
func (l *Load) Wait(t testing.TB, n int) {
	t.Helper()
	had, _ := l.Count()
	err := harness.Eventually(t.Context(), WaitLong, func() error {
		good, failed := l.Count()
		switch {
		case failed > 0:
			return harness.Final(errors.New("requests failed"))
		case good < had+n:
			return fmt.Errorf("%d more answers have come, want %d", good-had, n)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v: %v", err, l)
	}
}

// WaitRow waits until the last n completed requests were answered well, whatever failed
// before.
func (l *Load) WaitRow(t testing.TB, n int) {
	t.Helper()
	err := harness.Eventually(t.Context(), WaitLong, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.row < n {
			return fmt.Errorf("%d good answers in a row, want %d", l.row, n)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v: %v", err, l)
	}
}

// WantAll stops the load when at least so many requests were answered, unless it was
// stopped before. It fails the test if a request failed, or too few were answered to
// judge. How long that takes depends on the machine.
func (l *Load) WantAll(t testing.TB, atLeast int) {
	t.Helper()
	enough := func() error {
		good, failed := l.Count()
		if good < atLeast && failed == 0 && l.ctx.Err() == nil {
			return fmt.Errorf("%d answers have come, want %d", good, atLeast)
		}
		return nil
	}
	slow := harness.Eventually(t.Context(), WaitLong, enough)
	l.Stop()
	switch good, failed := l.Count(); {
	case failed > 0:
		t.Errorf("requests failed, want none: %v", l)
	case good < atLeast:
		t.Errorf("too few answers to say, want %d: %v %v", atLeast, l, slow)
	}
}
