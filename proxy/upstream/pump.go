package upstream

import (
	"io"
	"net/http"
	"sync"
)

// pump reads a body for one attempt after another. An attempt that is over can't
// hold it: net/http waits for a Read that waits for the caller, though the peer has
// long gone. What is read then is kept for the next attempt.
type pump struct {
	in io.Reader

	mu      sync.Mutex
	reading chan struct{} // Closed when the read that is under way ends; nil: none is.
	buf     []byte        // Read, and not given to anybody yet.
	err     error         // What comes after buf.
	given   bool
}

// used reports whether an attempt has got some of the body.
func (p *pump) used() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.given
}

// view returns the body for one attempt.
func (p *pump) view() io.ReadCloser { return &pumpView{p: p, closed: make(chan struct{})} }

type pumpView struct {
	p      *pump
	once   sync.Once
	closed chan struct{}
}

func (v *pumpView) Read(b []byte) (int, error) {
	for {
		wait, n, err := v.p.take(b, v.closed)
		if wait == nil {
			return n, err
		}
		select {
		case <-wait:
		case <-v.closed:
		}
	}
}

// Close ends the attempt's reading at once.
func (v *pumpView) Close() error {
	v.once.Do(func() { close(v.closed) })
	return nil
}

// take gives what is there to an attempt that isn't over, or begins to read and
// says what to wait for.
func (p *pump) take(b []byte, closed <-chan struct{}) (wait <-chan struct{}, n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-closed:
		return nil, 0, http.ErrBodyReadAfterClose
	default:
	}
	switch {
	case len(b) == 0:
		return nil, 0, nil
	case len(p.buf) > 0:
		n = copy(b, p.buf)
		p.buf = p.buf[n:]
		p.given = true
		return nil, n, nil
	case p.err != nil:
		return nil, 0, p.err
	}
	if p.reading == nil {
		p.reading = make(chan struct{})
		// It ends when the caller sends or goes, at the latest with the handler.
		go p.read(min(len(b), copyBuffer), p.reading)
	}
	return p.reading, 0, nil
}

func (p *pump) read(size int, done chan struct{}) {
	buf := make([]byte, size)
	n, err := p.in.Read(buf)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buf, p.err, p.reading = buf[:n], err, nil
	close(done)
}
