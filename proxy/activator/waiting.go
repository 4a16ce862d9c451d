package activator

import (
	"github.com/wadi-run/wadi/proxy/list"
)

// waitQueue holds the requests that wait, in the order in which they came. Callers take
// turns, and of each one the first request is the next: a caller with many requests
// delays others by one of them each time, not by all. Its zero value is empty.
type waitQueue struct {
	queue
	callers map[string]*callerQueue
	turns   list.List[*callerQueue]    // Whose turn is next comes first.
	bySize  []*list.List[*callerQueue] // Callers by how many requests they have.
	top     int                        // The largest size that there is.
}

// callerQueue is what of one caller waits. It is known as long as something does.
type callerQueue struct {
	caller     string
	requests   list.List[*request]
	turn, size list.Node[*callerQueue]
}

// enter queues q. One that was granted before goes to the front, whoever's turn it is:
// it came before those that wait.
func (w *waitQueue) enter(q *request, again bool) {
	c := w.callers[q.from]
	if c == nil {
		if w.callers == nil {
			w.callers = map[string]*callerQueue{}
		}
		c = &callerQueue{caller: q.from}
		w.callers[q.from] = c
		w.turns.PushBack(&c.turn, c)
	}
	q.of = c
	if again {
		w.pushFront(q)
		c.requests.PushFront(&q.own, q)
		w.turns.Remove(&c.turn)
		w.turns.PushFront(&c.turn, c)
	} else {
		w.pushBack(q)
		c.requests.PushBack(&q.own, q)
	}
	w.resized(c, c.requests.Len()-1)
}

// leave takes q out.
func (w *waitQueue) leave(q *request) {
	c := q.of
	q.of = nil
	w.remove(q)
	c.requests.Remove(&q.own)
	w.resized(c, c.requests.Len()+1)
	if c.requests.Len() == 0 {
		w.turns.Remove(&c.turn)
		delete(w.callers, c.caller)
	}
}

// next is the request whose turn it is; nil: none waits.
func (w *waitQueue) next() *request {
	if c := w.turns.First(); c != nil {
		return c.requests.First()
	}
	return nil
}

// take takes out the request whose turn it is. Its caller is the last to come again.
func (w *waitQueue) take(q *request) {
	c := q.of
	w.leave(q)
	if c.requests.Len() > 0 {
		w.turns.Remove(&c.turn)
		w.turns.PushBack(&c.turn, c)
	}
}

// displaced returns the request that makes room in a full queue for one of a caller:
// the last one of the caller with the most, if that has at least two more. Nil: the
// caller has its share.
func (w *waitQueue) displaced(caller string) *request {
	n := 0
	if c := w.callers[caller]; c != nil {
		n = c.requests.Len()
	}
	if w.top < n+2 {
		return nil
	}
	return w.bySize[w.top].First().requests.Last()
}

// resized ranks c, which had one request more or less before.
func (w *waitQueue) resized(c *callerQueue, before int) {
	now := c.requests.Len()
	if before > 0 {
		w.bySize[before].Remove(&c.size)
	}
	if now > 0 {
		for len(w.bySize) <= now {
			w.bySize = append(w.bySize, &list.List[*callerQueue]{})
		}
		w.bySize[now].PushBack(&c.size, c)
		w.top = max(w.top, now)
	}
	for w.top > 0 && w.bySize[w.top].Len() == 0 {
		w.top-- // By one: sizes change by one.
	}
	if w.top == 0 {
		w.bySize = nil // What was long once costs nothing when it is empty.
	}
}
