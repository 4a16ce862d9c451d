package activator

import "github.com/wadi-run/wadi/proxy/list"

// requestList is a list of requests that counts those that wake their revision. A
// request is in at most one such list. Its zero value is empty.
type requestList struct {
	list.List[*request]
	waking int // Requests that are not quiet.
}

func (l *requestList) pushBack(q *request) {
	l.PushBack(&q.node, q)
	l.count(q, 1)
}

func (l *requestList) pushFront(q *request) {
	l.PushFront(&q.node, q)
	l.count(q, 1)
}

func (l *requestList) remove(q *request) {
	l.Remove(&q.node)
	l.count(q, -1)
}

func (l *requestList) count(q *request, n int) {
	if !q.quiet {
		l.waking += n
	}
}

func (l *requestList) has(q *request) bool { return l.Has(&q.node) }
