package upstream

import (
	"errors"
	"io"
	"net/http"
)

// passBody passes the body on, as it comes.
func (a *http1Answer) passBody() error {
	switch h := &a.conn.head; {
	case !h.hasBody(a.r.Method):
		return nil
	case h.chunked:
		return a.passChunks()
	case h.length >= 0:
		return a.passLength(h.length)
	}
	a.conn.head.last = true
	return a.passAll()
}

// passAll passes everything on until the peer closes the connection.
func (a *http1Answer) passAll() error {
	for passed := int64(0); ; {
		n, err := a.pass(int64(len(a.conn.buffered())))
		if err != nil {
			return err
		}
		if passed += n; passed > smallBuffer {
			a.conn.widen()
		}
		if err := a.more(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// more waits for bytes from the peer, after it has flushed those that have come.
func (a *http1Answer) more() error {
	if a.unflushed {
		a.unflushed = false
		if err := flush(a.w); err != nil {
			return err
		}
	}
	return a.conn.fill()
}

// pass writes up to n of the buffered bytes.
func (a *http1Answer) pass(n int64) (int64, error) {
	b := a.conn.buffered()
	if int64(len(b)) > n {
		b = b[:n]
	}
	if len(b) == 0 {
		return 0, nil
	}
	m, err := a.w.Write(b)
	a.conn.take(m)
	a.unflushed = true
	return int64(m), err
}

// passLength passes a body of n bytes on.
func (a *http1Answer) passLength(n int64) error {
	for n > 0 {
		if len(a.conn.buffered()) == 0 {
			if n >= spliceFrom && a.conn.tcp != nil && a.r.ProtoMajor == 1 && a.r.TLS == nil {
				if to, ok := a.w.(io.ReaderFrom); ok {
					return a.splice(to, n)
				}
			}
			if n > smallBuffer {
				a.conn.widen()
			}
			if err := a.more(); err != nil {
				return unexpected(err)
			}
		}
		m, err := a.pass(n)
		if err != nil {
			return err
		}
		n -= m
	}
	return nil
}

// splice passes n bytes on from socket to socket.
func (a *http1Answer) splice(to io.ReaderFrom, n int64) error {
	if err := flush(a.w); err != nil {
		return err
	}
	a.unflushed = false
	part := &io.LimitedReader{R: a.conn.tcp}
	for n > 0 {
		part.N = min(n, spliceStep)
		m, err := to.ReadFrom(part)
		n -= m
		if err != nil {
			return err
		}
		if part.N > 0 {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}

// flush sends what w has buffered, if it buffers.
func flush(w http.ResponseWriter) error {
	if err := http.NewResponseController(w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// unexpected turns the end of a stream into an error.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
