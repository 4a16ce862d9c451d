package agent

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"

	"github.com/wadi-run/wadi/proxy/activator"
)

const (
	tryTimeout = 3 * time.Second // Of one attempt to reach what an agent starts with.
	tryEvery   = 250 * time.Millisecond
	remindAt   = 30 * time.Second // Between two log lines about the same wait.
	rightsAt   = 5 * time.Second  // Between two looks at the rights while it waits.
)

// startup is how far the start of an agent is: what it waits for. Make it with newStartup.
type startup struct {
	log     hclog.Logger
	lacking func(context.Context) []wadi.Finding // The rights that the agent's tokens lack; nil: unknown.
	logged  map[string]bool                      // Those that were logged.
	waits   atomic.Pointer[string]               // Empty once the agent has started.
}

func newStartup(log hclog.Logger) *startup {
	s := &startup{log: log, logged: map[string]bool{}}
	starting := "starting"
	s.waits.Store(&starting)
	return s
}

// waitsFor says what the start waits for, with addresses; empty once it is done.
func (s *startup) waitsFor() string { return *s.waits.Load() }

// Waits says what the agent's start waits for; empty once it has started.
func (a *Agent) Waits() string { return a.startup.waitsFor() }

// done ends the start.
func (s *startup) done() { s.waits.Store(new(string)) }

// await tries until ready succeeds, or ctx ends: then it returns false. It logs at once,
// and then now and then, what it waits for.
func (s *startup) await(ctx context.Context, what, address string, ready func(context.Context) error) bool {
	var logged, looked time.Time
	hint := ""
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, tryTimeout)
		err := ready(try)
		cancel()
		if err == nil {
			if !logged.IsZero() {
				s.log.Info("reached", "what", what)
			}
			return true
		}
		if time.Since(looked) > rightsAt && ctx.Err() == nil {
			hint, looked = s.missing(ctx), time.Now()
		}
		why := fmt.Sprintf("waits for %s at %s: %v%s", what, address, err, hint)
		s.waits.Store(&why)
		if time.Since(logged) > remindAt && ctx.Err() == nil {
			s.log.Warn("waiting", "for", what, "address", address, "error", err)
			logged = time.Now()
		}
		_ = wadi.Sleep(ctx, tryEvery)
	}
	return false
}

// missing logs each right that the agent's tokens lack, once, and returns them as the end of
// a sentence; empty: none is known to be missing.
func (s *startup) missing(ctx context.Context) (text string) {
	if s.lacking == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	for _, f := range s.lacking(ctx) {
		text += "; " + f.What
		if key := f.About + f.What; !s.logged[key] {
			s.logged[key] = true
			s.log.Warn("a right is missing", "in", f.About, "what", f.What, "remedy", f.Remedy)
		}
	}
	return text
}

// gate answers 503 until the start is done: before routes and instances are known, a 404
// would be wrong. The answer does not say what the start waits for, which names addresses.
func (s *startup) gate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.waitsFor() != "" {
			activator.Refuse(w, r, activator.Refusal{Status: http.StatusServiceUnavailable, Code: "starting",
				RetryAfter: time.Second, Message: "this Wadi agent starts"})
			return
		}
		next.ServeHTTP(w, r)
	})
}
