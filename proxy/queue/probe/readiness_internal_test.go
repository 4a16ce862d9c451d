package probe

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// probed is an app under a readiness loop, in a bubble.
type probed struct {
	*Readiness
	err     atomic.Pointer[error] // What the app answers; nil is ready.
	probes  atomic.Int64
	changes atomic.Int64
}

func watch(t *testing.T, repeat bool, first error) *probed {
	p := &probed{}
	p.answer(first)
	p.Readiness = NewReadiness(Config{
		Probe: func(context.Context) error {
			p.probes.Add(1)
			return *p.err.Load()
		},
		Timeout: time.Second, Repeat: repeat, Log: hclog.NewNullLogger(), Changed: func() { p.changes.Add(1) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go p.Run(ctx)
	synctest.Wait()
	return p
}

func (p *probed) answer(err error) { p.err.Store(&err) }

func (p *probed) after(d time.Duration) (ready bool) {
	time.Sleep(d)
	synctest.Wait()
	return p.IsReady()
}

func TestReadiness_ProbesOftenAndThenLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := watch(t, false, errors.New("starting"))
		for _, tt := range []struct {
			during  time.Duration
			atLeast int64
			atMost  int64
		}{
			{time.Second, 199, 202},     // Every 5 ms.
			{8 * time.Second, 600, 700}, // 2 s of 5 ms, 6 s of 25 ms.
			{60 * time.Second, 530, 600},
			{60 * time.Second, 239, 241},
		} {
			before := p.probes.Load()
			if p.after(tt.during) {
				t.Fatal("ready")
			}
			if got := p.probes.Load() - before; got < tt.atLeast || got > tt.atMost {
				t.Errorf("%d probes in %v, want %d to %d", got, tt.during, tt.atLeast, tt.atMost)
			}
		}
		p.answer(nil)
		if !p.after(250*time.Millisecond) || p.changes.Load() != 1 {
			t.Errorf("not ready, %d changes", p.changes.Load())
		}
		before := p.probes.Load()
		if !p.after(time.Hour) || p.probes.Load() != before {
			t.Error("an app that is up was probed again")
		}
	})
}

func TestReadiness_AppThatStopsAnswering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := watch(t, true, nil)
		p.after(time.Second)
		p.answer(errors.New("busy"))
		if !p.after(2 * reprobeEvery) {
			t.Error("not ready after two failures")
		}
		if p.after(reprobeEvery) {
			t.Error("ready after three failures")
		}
		p.answer(nil)
		if !p.after(5 * time.Millisecond) {
			t.Error("not ready 5 ms after the app is")
		}
		p.answer(syscall.ECONNREFUSED)
		if p.after(reprobeEvery) {
			t.Error("ready after a refused connection")
		}
	})
}

func TestReadiness_RefusedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := watch(t, false, nil)
		p.after(time.Hour)
		p.answer(syscall.ECONNREFUSED)
		p.Refused(syscall.ECONNREFUSED)
		if p.IsReady() {
			t.Error("ready")
		}
		p.after(time.Second)
		p.answer(nil)
		if !p.after(5 * time.Millisecond) {
			t.Error("not ready 5 ms after the app is: it was probed too seldom")
		}
		p.Refused(syscall.ECONNREFUSED)
		if !p.after(5*time.Millisecond) || p.changes.Load() != 5 {
			t.Errorf("changes %d, want 5", p.changes.Load())
		}
	})
}
