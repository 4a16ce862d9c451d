package assets

import (
	"context"
	"errors"
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
	if len(t.queue) >= maxQueued || t.waitingOf(host) >= maxHostQueue {
		t.mu.Unlock()
		return nil, errTooMany
	}
	w := &waiting{host: host, turn: make(chan struct{})}
	t.queue = append(t.queue, w)
	t.next()
	t.mu.Unlock()
	select {
	case <-w.turn:
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
	for i := 0; i < len(t.queue) && t.all < maxDownloads; {
		w := t.queue[i]
		if t.hosts[w.host] >= maxPerHost {
			i++
			continue
		}
		t.all++
		t.hosts[w.host]++
		w.taken = true
		close(w.turn)
		t.queue = append(t.queue[:i], t.queue[i+1:]...)
	}
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
