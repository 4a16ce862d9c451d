package replay

import (
	"io"
	"net/http"
	"sync"
)

// maxAsyncRead bounds what an [AsyncBody] reads at once, and so what it holds.
const maxAsyncRead = 16 << 10

// AsyncBody lends a request's body to one attempt after another, and ends an attempt's Read
// with the attempt, whether or not the caller sends. What is read then is kept for the next
// attempt; what an attempt has got is not. [NewAsync] makes one.
type AsyncBody struct {
	in io.Reader

	mu      sync.Mutex
	reading chan struct{} // Closed when the present read from the caller ends; nil: there is none.
	buf     []byte        // What was read, and no attempt has got yet.
	err     error         // Comes after buf.
	used    bool
}

// NewAsync returns the body in.
func NewAsync(in io.Reader) *AsyncBody { return &AsyncBody{in: in} }

// IsUsed reports whether an attempt has got some of the body, so that another attempt would
// not get all of it.
func (b *AsyncBody) IsUsed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Attempt returns the body for one attempt, whose Close ends its reading at once.
func (b *AsyncBody) Attempt() io.ReadCloser {
	return &asyncAttempt{of: b, closed: make(chan struct{})}
}

type asyncAttempt struct {
	of     *AsyncBody
	once   sync.Once
	closed chan struct{}
}

func (a *asyncAttempt) Read(p []byte) (int, error) {
	for {
		wait, n, err := a.of.take(p, a.closed)
		if wait == nil {
			return n, err
		}
		select {
		case <-wait:
		case <-a.closed:
		}
	}
}

// Close ends the attempt's reading at once.
func (a *asyncAttempt) Close() error {
	a.once.Do(func() { close(a.closed) })
	return nil
}

// take gives an open attempt what was read, or begins to read and returns what to wait for.
func (b *AsyncBody) take(p []byte, closed <-chan struct{}) (wait <-chan struct{}, n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-closed:
		return nil, 0, http.ErrBodyReadAfterClose
	default:
	}
	switch {
	case len(p) == 0:
		return nil, 0, nil
	case len(b.buf) > 0:
		n = copy(p, b.buf)
		b.buf = b.buf[n:]
		b.used = true
		return nil, n, nil
	case b.err != nil:
		return nil, 0, b.err
	}
	if b.reading == nil {
		b.reading = make(chan struct{})
		// It ends when the caller sends or goes, at the latest with the handler.
		go b.read(min(len(p), maxAsyncRead), b.reading)
	}
	return b.reading, 0, nil
}

// read reads once from the caller.
func (b *AsyncBody) read(size int, done chan struct{}) {
	buf := make([]byte, size)
	n, err := b.in.Read(buf)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf, b.err, b.reading = buf[:n], err, nil
	close(done)
}
