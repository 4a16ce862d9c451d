package assets

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// turns bounds downloads: all together, and of each address.
type turns struct {
	mu    sync.Mutex
	all   int
	hosts map[string]int
	queue []*waiting // The first first.
}

type waiting struct {
	host  string
	turn  chan struct{} // Closed when it is its turn.
	taken bool
	lost  bool // Its place in the queue went to another address.
}

var errTooMany = errors.New("too many downloads")

func newTurns() *turns { return &turns{hosts: map[string]int{}} }

func (t *turns) running() float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return float64(t.all)
}

// take waits for a turn, for a bounded time. leave ends it.
func (t *turns) take(ctx context.Context, host string) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	t.mu.Lock()
	if t.waitingOf(host) >= maxHostQueue || len(t.queue) >= maxQueued && !t.makeRoom(host) {
		t.mu.Unlock()
		return nil, errTooMany
	}
	w := &waiting{host: host, turn: make(chan struct{})}
	t.queue = append(t.queue, w)
	t.next()
	t.mu.Unlock()
	select {
	case <-w.turn:
		if w.lost {
			return nil, errTooMany
		}
	case <-ctx.Done():
		t.mu.Lock()
		defer t.mu.Unlock()
		if !w.taken {
			t.drop(w)
			return nil, errTooMany
		}
	}
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.all--
		if t.hosts[host]--; t.hosts[host] == 0 {
			delete(t.hosts, host)
		}
		t.next()
	}), nil
}

// next lets those go whose turn it is. The mutex is held.
func (t *turns) next() {
	for w := t.first(); w != nil; w = t.first() {
		t.all++
		t.hosts[w.host]++
		w.taken = true
		close(w.turn)
		t.drop(w)
	}
}

// first is who is next: of those who have waited longest one whose address has the fewest turns.
// Nil: nobody may go.
func (t *turns) first() (best *waiting) {
	limit := maxPerHost
	if t.all >= maxDownloads-fewTurns {
		limit = maxBusyHost
	}
	for _, w := range t.queue {
		if n := t.hosts[w.host]; t.all < maxDownloads && n < limit && (best == nil || n < t.hosts[best.host]) {
			best = w
		}
	}
	return best
}

// makeRoom takes the place of the one who came last of the address that waits most, if that
// waits more than host would. The mutex is held.
func (t *turns) makeRoom(host string) bool {
	waits := map[string]int{}
	for _, w := range t.queue {
		waits[w.host]++
	}
	most := host
	for _, w := range t.queue {
		if waits[w.host] > waits[most] {
			most = w.host
		}
	}
	if waits[most] <= waits[host]+1 {
		return false
	}
	for _, w := range slices.Backward(t.queue) {
		if w.host == most {
			w.lost = true
			close(w.turn)
			t.drop(w)
			break
		}
	}
	return true
}

func (t *turns) waitingOf(host string) (n int) {
	for _, w := range t.queue {
		if w.host == host {
			n++
		}
	}
	return n
}

func (t *turns) drop(w *waiting) {
	for i, o := range t.queue {
		if o == w {
			t.queue = append(t.queue[:i], t.queue[i+1:]...)
			return
		}
	}
}
