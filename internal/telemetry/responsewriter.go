package telemetry

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// writer records status and length of an answer.
type writer struct {
	http.ResponseWriter
	status int // 0 before an answer.
	bytes  int64
}

// Unwrap lets http.ResponseController reach the server's own.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader records a final status.
func (w *writer) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom lets the kernel copy a body from connection to connection.
func (w *writer) ReadFrom(from io.Reader) (int64, error) {
	below, ok := w.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{w}, from)
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := below.ReadFrom(from)
	w.bytes += n
	return n, err
}

// Hijack is called for an upgrade. Its answer does not go through WriteHeader.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}
