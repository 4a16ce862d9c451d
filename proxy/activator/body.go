package activator

import (
	"io"
	"net/http"
	"sync"

	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// body lends a request's body to one attempt after another. A transport closes
// the body of an attempt that failed, and may still be reading it; neither may
// lose a byte for the next attempt.
type body struct {
	in   io.Reader
	long bool // It is known to be longer than what is kept.

	reading sync.Mutex // Held while reading in.

	mu      sync.Mutex
	attempt int    // The one that may read.
	kept    []byte // What has gone to the attempts so far, unless it is lost.
	lost    bool   // Some has gone to an attempt, and can't be lent again.
	over    bool   // It has come to its end.
	n       int64  // Bytes read.
	broken  error  // How it came to its end other than well.
	stash   []byte // What comes next.
	err     error  // Comes after stash.
}

// lend returns the body from its beginning for one attempt, which can close it without
// harm. The attempt before gets nothing of it any more. It is to be called while the body
// is whole only.
func (b *body) lend() io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.attempt++
	if len(b.kept) > 0 {
		b.stash = append(b.kept, b.stash...)
		b.kept = nil
	}
	return &loan{b: b, attempt: b.attempt}
}

// size is how many bytes of it were read.
func (b *body) size() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n
}

// ended reports whether all of it was read.
func (b *body) ended() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.over
}

// failure is why the client's body could not be read; nil if it could.
func (b *body) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.broken
}

// whole reports whether all of it can be lent.
func (b *body) whole() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.lost
}

// settle gives up what is kept: no other attempt follows.
func (b *body) settle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost, b.kept = true, nil
}

// lent notes what goes to an attempt. The caller holds the mutex.
func (b *body) lent(p []byte) {
	switch {
	case b.lost || len(p) == 0:
	case b.long || len(b.kept)+len(p) > upstream.KeptBody:
		b.lost, b.kept = true, nil
	default:
		b.kept = append(b.kept, p...)
	}
}

// endReading has no attempt read q's body any more, and bounds the reading of what is
// left. Where the server finds a reader at the handler's end it lifts all bounds, and
// waits for the rest of the body without one.
func (q *request) endReading() {
	if q.body == nil || q.in.ProtoMajor != 1 {
		return
	}
	q.body.revoke()
	if !deadline.StopReading(q.out.ResponseWriter, &q.body.reading) {
		return
	}
	q.body.reading.Unlock()
	if !q.body.ended() {
		deadline.EndUnread(q.out.ResponseWriter, q.in)
	}
}

// revoke takes the body from the attempt that has it.
func (b *body) revoke() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.attempt++
}

// loan is the body as one attempt sees it.
type loan struct {
	b       *body
	attempt int
}

func (l *loan) Read(p []byte) (int, error) {
	b := l.b
	b.reading.Lock()
	defer b.reading.Unlock()
	if n, err, ok := l.early(p); ok {
		return n, err
	}
	n, err := b.in.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n += int64(n)
	b.over = b.over || err != nil
	if err != nil && err != io.EOF {
		b.broken = err
	}
	if b.attempt != l.attempt { // Closed meanwhile: keep it for the next one.
		b.stash, b.err = append(b.stash, p[:n]...), err
		return 0, http.ErrBodyReadAfterClose
	}
	b.lent(p[:n])
	return n, err
}

// early answers from the stash, or to an attempt that is over.
func (l *loan) early(p []byte) (n int, err error, ok bool) {
	b := l.b
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.attempt != l.attempt:
		return 0, http.ErrBodyReadAfterClose, true
	case len(b.stash) > 0:
		n = copy(p, b.stash)
		b.stash = b.stash[n:]
		b.lent(p[:n])
		return n, nil, true
	case b.err != nil:
		return 0, b.err, true
	}
	return 0, nil, false
}

// Close ends the attempt's reading.
func (l *loan) Close() error {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if l.b.attempt == l.attempt {
		l.b.attempt++
	}
	return nil
}
