// Package simulation holds stand-ins for Nomad and Consul that a seed drives: they delay,
// reorder, refuse, execute without answering, and answer with what is old or nothing. They
// are for tests that run in a bubble of testing/synctest, and keep virtual time.
//
// It promises that of the calls that wait one alone goes on at a time, and that the seed
// chooses which: the same seed gives the same history. It refuses to know what the callers
// are to do: that is judged by whoever drives them.
package simulation

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
)

// Verdict is what becomes of one call.
type Verdict struct {
	Hold  time.Duration // How long the caller keeps it back: it is dropped if its context ends before.
	Late  time.Duration // How long it is under way: it is executed though its caller may have given up.
	Fail  error         // It is not executed, and fails with this; nil: it is executed.
	Lost  bool          // It is executed, and its answer is lost.
	Empty bool          // A list is answered as if nothing were there.
	Stale bool          // A list is answered by a server that has read nothing of its log yet.
}

// Gate lets waiting calls go on, one at a time. Make it with NewGate.
type Gate struct {
	Rand  *rand.Rand
	Judge func(actor, what string) Verdict // Decides about a call when it comes; nil: all are executed at once.
	Trace func(actor, what string, err error)
	Held  func(actor string) bool // The actor is paused: its calls wait, and so do their answers.

	mu      sync.Mutex
	waiting []*call
	calls   int
}

// call is one that waits.
type call struct {
	actor, what string
	do          func(Verdict) error
	issued, due time.Time
	judged      bool
	verdict     Verdict
	gone        bool // Its caller has given up.
	done        chan error
}

// NewGate returns a gate whose order depends on the seed alone.
func NewGate(seed uint64) *Gate {
	return &Gate{Rand: rand.New(rand.NewPCG(seed, 0x5eed))}
}

// ErrLost: the call was executed, perhaps, and its answer did not come.
var ErrLost = fmt.Errorf("%w: the answer was lost", wadi.ErrUnavailable)

// Do has do executed when the gate lets it, by the goroutine that drives the gate. It
// returns its error, or that of ctx if that ends before.
func (g *Gate) Do(ctx context.Context, actor, what string, do func(Verdict) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	c := &call{actor: actor, what: what, do: do, issued: time.Now(), done: make(chan error, 1)}
	c.due = c.issued
	g.mu.Lock()
	g.waiting = append(g.waiting, c)
	g.mu.Unlock()
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		g.mu.Lock()
		c.gone = true
		g.mu.Unlock()
		return fmt.Errorf("%s: %w: %w", what, wadi.ErrUnavailable, ctx.Err())
	}
}

// Settle lets calls go on until none that is due waits, and everything else waits for time.
func (g *Gate) Settle() {
	for {
		synctest.Wait()
		c := g.next()
		if c == nil {
			return
		}
		g.execute(c)
	}
}

// Calls is how many calls were executed.
func (g *Gate) Calls() int { return g.calls }

// next takes a due call, which the seed chooses.
func (g *Gate) next() *call {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.waiting = slices.DeleteFunc(g.waiting, func(c *call) bool { return c.gone && (!c.judged || c.verdict.Late == 0) })
	if len(g.waiting) == 0 {
		return nil
	}
	// Goroutines that were started together come in any order.
	slices.SortStableFunc(g.waiting, func(a, b *call) int {
		return cmp.Or(cmp.Compare(a.actor, b.actor), cmp.Compare(a.what, b.what), a.issued.Compare(b.issued))
	})
	var due []*call
	for _, c := range g.waiting {
		if !c.judged {
			c.judged = true
			if g.Judge != nil {
				c.verdict = g.Judge(c.actor, c.what)
			}
			c.due = now.Add(c.verdict.Hold + c.verdict.Late)
		}
		if !now.Before(c.due) && (c.verdict.Late > 0 || g.Held == nil || !g.Held(c.actor)) {
			due = append(due, c)
		}
	}
	if len(due) == 0 {
		return nil
	}
	c := due[0]
	if len(due) > 1 {
		c = due[g.Rand.IntN(len(due))]
	}
	g.waiting = slices.DeleteFunc(g.waiting, func(o *call) bool { return o == c })
	return c
}

// execute does what a call is for.
func (g *Gate) execute(c *call) {
	g.calls++
	err := c.verdict.Fail
	if err == nil {
		err = c.do(c.verdict)
	}
	if c.verdict.Lost {
		err = ErrLost
	}
	if g.Trace != nil {
		g.Trace(c.actor, c.what, err)
	}
	c.done <- err
}
