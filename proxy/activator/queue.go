package activator

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi/proxy/list"
)

// queue has the requests of one revision that wait for an instance. Callers take turns,
// and the requests of one caller are first come, first served: a caller with many
// requests delays others by one request per turn, not by all of them.
//
// A request is in the queue from enqueue until dequeue, cancel or withdraw. Of each
// caller with a request in the queue, and of no other, there is a callerQueue, which is
// in turns, and in bySize under its length. longest is the greatest length.
//
// Its revision's mutex guards it, and its revision locks. No method blocks.
type queue struct {
	requestList
	callers map[string]*callerQueue
	turns   list.List[*callerQueue]    // The first caller is the next one.
	bySize  []*list.List[*callerQueue] // Callers by how many requests they have.
	longest int
	waiting prometheus.Gauge // The requests that wait in the whole agent.
}

// callerQueue is the requests of one caller that wait.
type callerQueue struct {
	caller     string
	requests   list.List[*request]
	turn, size list.Node[*callerQueue]
}

// enqueue puts q at the end of its caller's requests. A request that was granted an
// instance before goes to the front of the queue, and its caller is the next one: it
// came before all that wait.
func (w *queue) enqueue(q *request, again bool) {
	c := w.callers[q.queueKey]
	if c == nil {
		if w.callers == nil {
			w.callers = map[string]*callerQueue{}
		}
		c = &callerQueue{caller: q.queueKey}
		w.callers[q.queueKey] = c
		w.turns.PushBack(&c.turn, c)
	}
	q.callerQueue = c
	if again {
		w.pushFront(q)
		c.requests.PushFront(&q.callerNode, q)
		w.turns.Remove(&c.turn)
		w.turns.PushFront(&c.turn, c)
	} else {
		w.pushBack(q)
		c.requests.PushBack(&q.callerNode, q)
	}
	w.resized(c, c.requests.Len()-1)
	w.waiting.Inc()
}

// next is the request whose turn it is; nil: none waits.
func (w *queue) next() *request {
	if c := w.turns.First(); c != nil {
		return c.requests.First()
	}
	return nil
}

// dequeue takes out q, which is the next one, to be granted an instance. Its caller is
// the last to have a turn again. The caller of dequeue closes q.done once the grant is
// complete.
func (w *queue) dequeue(q *request) {
	c := q.callerQueue
	w.withdraw(q)
	if c.requests.Len() > 0 {
		w.turns.Remove(&c.turn)
		w.turns.PushBack(&c.turn, c)
	}
}

// cancel ends the wait of q with an error.
func (w *queue) cancel(q *request, err error) {
	w.withdraw(q)
	q.err = err
	close(q.done)
}

// withdraw takes q out of the queue for its own goroutine, which waits no longer.
func (w *queue) withdraw(q *request) {
	c := q.callerQueue
	q.callerQueue = nil
	w.remove(q)
	c.requests.Remove(&q.callerNode)
	w.resized(c, c.requests.Len()+1)
	if c.requests.Len() == 0 {
		w.turns.Remove(&c.turn)
		delete(w.callers, c.caller)
	}
	w.waiting.Dec()
}

// displaceable returns the request that a full queue gives up for one of a caller: the
// last one of the caller with the most requests, if that has at least two more. It
// returns nil if the caller has its share.
func (w *queue) displaceable(caller string) *request {
	n := 0
	if c := w.callers[caller]; c != nil {
		n = c.requests.Len()
	}
	if w.longest < n+2 {
		return nil
	}
	return w.bySize[w.longest].First().requests.Last()
}

// resized ranks c, which had one request more or less before.
func (w *queue) resized(c *callerQueue, before int) {
	now := c.requests.Len()
	if before > 0 {
		w.bySize[before].Remove(&c.size)
	}
	if now > 0 {
		for len(w.bySize) <= now {
			w.bySize = append(w.bySize, &list.List[*callerQueue]{})
		}
		w.bySize[now].PushBack(&c.size, c)
		w.longest = max(w.longest, now)
	}
	for w.longest > 0 && w.bySize[w.longest].Len() == 0 {
		w.longest-- // By one: lengths change by one.
	}
	if w.longest == 0 {
		w.bySize = nil // A queue that was long once costs nothing when it is empty.
	}
}
