package server

import (
	"container/list"
	"context"
	"net/http"
	"sync"

	"github.com/wadi-run/wadi/api"
)

const (
	// maxReads is how many reads are answered at a time. Each may ask Consul for every
	// service, over a connection of its own, and Consul refuses an address that has too many:
	// the agent's own work would be refused with them.
	maxReads = 32
	// maxReadsEach is how many of them may be one client's, so that others go on.
	maxReadsEach = 16
)

// turns lets a bounded number of reads be answered at a time, in the order in which they
// came, and leaves some for clients with few.
type turns struct {
	mu      sync.Mutex
	all     int
	of      map[string]int // By client.
	waiting list.List      // Of *waiter, the first come first.
}

type waiter struct {
	client string
	given  chan struct{} // Closed when it has a turn.
}

func newTurns() *turns { return &turns{of: map[string]int{}} }

// take waits for a turn, until ctx ends: then it returns its error. Else end gives it back.
func (t *turns) take(ctx context.Context, client string) (end func(), err error) {
	t.mu.Lock()
	w := &waiter{client, make(chan struct{})}
	e := t.waiting.PushBack(w)
	t.give()
	t.mu.Unlock()
	select {
	case <-w.given:
	case <-ctx.Done():
		t.mu.Lock()
		defer t.mu.Unlock()
		select {
		case <-w.given: // At the same moment.
			t.back(client)
		default:
			t.waiting.Remove(e)
		}
		return nil, ctx.Err()
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.back(client)
	}, nil
}

// give gives free turns to those that wait. The caller holds the mutex.
func (t *turns) give() {
	for e := t.waiting.Front(); e != nil && t.all < maxReads; {
		next, w := e.Next(), e.Value.(*waiter)
		if t.of[w.client] < maxReadsEach {
			t.all++
			t.of[w.client]++
			t.waiting.Remove(e)
			close(w.given)
		}
		e = next
	}
}

// back takes a turn back. The caller holds the mutex.
func (t *turns) back(client string) {
	t.all--
	if t.of[client]--; t.of[client] == 0 {
		delete(t.of, client)
	}
	t.give()
}

// inTurn has h answer when it is its turn. A read whose turn does not come in the time of a
// read is refused.
func (s *Server) inTurn(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
		defer cancel()
		end, err := s.turns.take(ctx, addressOf(r))
		if err != nil && r.Context().Err() == nil {
			return &api.Error{Status: http.StatusServiceUnavailable, Message: "too many reads at once; try again"}
		}
		if err != nil {
			return err
		}
		defer end()
		return h(w, r)
	}
}
