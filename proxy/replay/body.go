// Package replay lends the body of one request to several attempts to send it.
//
// There are two kinds, for what they guarantee excludes each other. A [Body] keeps what an
// attempt has read, so that the next one begins at the beginning; it reads on the attempt's
// own goroutine, which costs nothing more. An [AsyncBody] keeps only what no attempt has
// got, and reads on a goroutine of its own: an attempt that is over ends at once, though
// the caller sends nothing. The HTTP/2 transport waits for the reader of a body before it
// says that the attempt has failed, and needs that.
//
// Both promise that no byte is lost between two attempts and that memory is bounded.
// Neither decides whether there is another attempt.
package replay

import (
	"io"
	"net/http"
	"sync"
)

// MaxKept is how many bytes of a body an activator keeps until an answer begins: an instance
// whose app sees nothing of the request may have been sent them before it said so.
const MaxKept = 16 << 10

// Body lends a request's body to one attempt after another. An attempt that fails
// is closed, perhaps while it is still being read; no byte is lost for the next attempt.
type Body struct {
	in   io.Reader
	keep int  // Bytes.
	long bool // It is known to be longer than what is kept.

	// Reading is held while the caller's body is read.
	Reading sync.Mutex

	mu      sync.Mutex
	attempt int    // The number of the attempt that may read.
	kept    []byte // What the attempts have got so far, unless it is lost.
	lost    bool   // An attempt has got some that was not kept.
	ended   bool
	n       int64  // Bytes read.
	failure error  // Why the caller's body can't be read.
	stash   []byte // What comes next.
	err     error  // Comes after stash.

	first attempt
}

// New returns the body in, of that length, -1 if it is not known. It keeps up to keep bytes
// of what attempts read, and nothing of a longer body.
func New(in io.Reader, length int64, keep int) *Body {
	return &Body{in: in, keep: keep, long: length > int64(keep)}
}

// Attempt returns the body from its beginning for one attempt. To close it ends that
// attempt's reading; the attempt before reads no more. The body must be whole.
func (b *Body) Attempt() io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.kept) > 0 {
		b.stash = append(b.kept, b.stash...)
		b.kept = nil
	}
	a := &b.first
	if b.first.of != nil {
		a = &attempt{}
	}
	b.attempt++
	a.of, a.number = b, b.attempt
	return a
}

// Size is how many bytes of the body were read from the caller.
func (b *Body) Size() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n
}

// Ended reports whether all of the body was read, or reading it has failed.
func (b *Body) Ended() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
}

// Failure is why the caller's body could not be read; nil if it could.
func (b *Body) Failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failure
}

// IsWhole reports whether another attempt would get all of the body.
func (b *Body) IsWhole() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.lost
}

// Commit forgets what was kept: no other attempt follows.
func (b *Body) Commit() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost, b.kept = true, nil
}

// Revoke ends the reading of the present attempt. A read from the caller that has begun
// goes on.
func (b *Body) Revoke() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.attempt++
}

// note keeps what an attempt gets. The caller holds the mutex.
func (b *Body) note(p []byte) {
	switch {
	case b.lost || len(p) == 0:
	case b.long || len(b.kept)+len(p) > b.keep:
		b.lost, b.kept = true, nil
	default:
		b.kept = append(b.kept, p...)
	}
}

// attempt is the body as one attempt sees it.
type attempt struct {
	of     *Body
	number int
}

func (a *attempt) Read(p []byte) (int, error) {
	b := a.of
	b.Reading.Lock()
	defer b.Reading.Unlock()
	if n, err, ok := a.early(p); ok {
		return n, err
	}
	n, err := b.in.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n += int64(n)
	b.ended = b.ended || err != nil
	if err != nil && err != io.EOF {
		b.failure = err
	}
	if b.attempt != a.number { // It was closed meanwhile: the next one gets this.
		b.stash, b.err = append(b.stash, p[:n]...), err
		return 0, http.ErrBodyReadAfterClose
	}
	b.note(p[:n])
	return n, err
}

// early answers a read from the stash, or one of an attempt that is over.
func (a *attempt) early(p []byte) (n int, err error, ok bool) {
	b := a.of
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.attempt != a.number:
		return 0, http.ErrBodyReadAfterClose, true
	case len(b.stash) > 0:
		n = copy(p, b.stash)
		b.stash = b.stash[n:]
		b.note(p[:n])
		return n, nil, true
	case b.err != nil:
		return 0, b.err, true
	}
	return 0, nil, false
}

// Close ends the attempt's reading.
func (a *attempt) Close() error {
	b := a.of
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.attempt == a.number {
		b.attempt++
	}
	return nil
}
