package framing

import "sync"

const (
	// maxLine bounds a header line that comes in pieces, in bytes. It is more than all
	// headers of a request may have, so that the server's own bound is met first.
	maxLine = 128 << 10
	// maxPooledLine is the largest buffer, in bytes, that is kept for the next line.
	maxPooledLine = 8 << 10
)

// lineBuffer holds the beginning of a line.
type lineBuffer struct{ b []byte }

func (l *lineBuffer) add(b []byte) bool {
	if len(l.b)+len(b) > maxLine {
		return false
	}
	l.b = append(l.b, b...)
	return true
}

// lineBuffers lends buffers, so that a connection between requests has none.
type lineBuffers struct{ pool sync.Pool }

func (p *lineBuffers) get() *lineBuffer {
	if l, ok := p.pool.Get().(*lineBuffer); ok {
		return l
	}
	return &lineBuffer{make([]byte, 0, 512)}
}

func (p *lineBuffers) put(l *lineBuffer) {
	if cap(l.b) <= maxPooledLine {
		l.b = l.b[:0]
		p.pool.Put(l)
	}
}
