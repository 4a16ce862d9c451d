package queue

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/wadi-run/wadi"
)

// response notes what is answered.
type response struct {
	http.ResponseWriter
	instance string
	status   int // 0 before an answer.
	bytes    int64
	upgraded atomic.Bool // It is a tunnel.
}

func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *response) WriteHeader(status int) {
	if r.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		r.status = status
		if status == http.StatusMisdirectedRequest && r.instance != "" {
			// It is the app's own answer; the activator can tell by the name.
			r.Header().Set(wadi.HeaderInstance, r.instance)
		}
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *response) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// ReadFrom lets big bodies go from one connection to another within the kernel.
func (r *response) ReadFrom(from io.Reader) (int64, error) {
	below, ok := r.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{r}, from)
	}
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := below.ReadFrom(from)
	r.bytes += n
	return n, err
}

// Hijack is called for an upgrade, whose answer does not go through WriteHeader.
func (r *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil {
		r.status = http.StatusSwitchingProtocols
		r.upgraded.Store(true)
	}
	return conn, rw, err
}
