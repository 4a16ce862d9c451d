// Package recording has the response writer that notes status and size of an answer.
//
// It promises to cost no copy: the kernel still sends large bodies from one connection to
// another. It changes nothing of the answer.
package recording

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// Starter is called when the final answer of a [Writer], or an upgrade, starts: before its
// header is sent, so that fields may be added.
type Starter interface{ Starting(status int) }

// Writer notes what is answered by the writer below.
type Writer struct {
	http.ResponseWriter
	Starter Starter // May be nil.
	Status  int     // Of the final answer or an upgrade; 0 before that.
	Bytes   int64   // Of the body, as far as the writer below has taken them.
}

// Unwrap returns the writer below, for [http.ResponseController].
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// start notes the beginning of the answer.
func (w *Writer) start(status int) {
	w.Status = status
	if w.Starter != nil {
		w.Starter.Starting(status)
	}
}

// WriteHeader notes a final status.
func (w *Writer) WriteHeader(status int) {
	if w.Status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.start(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *Writer) Write(b []byte) (int, error) {
	if w.Status == 0 {
		w.start(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(b)
	w.Bytes += int64(n)
	return n, err
}

// ReadFrom sends what from has, within the kernel where the writer below can have it do so.
func (w *Writer) ReadFrom(from io.Reader) (int64, error) {
	below, ok := w.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{w}, from)
	}
	if w.Status == 0 {
		w.start(http.StatusOK)
	}
	n, err := below.ReadFrom(from)
	w.Bytes += n
	return n, err
}

// Hijack takes the connection over for an upgrade, whose answer does not go through
// WriteHeader.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.start(http.StatusSwitchingProtocols)
	}
	return conn, rw, err
}
