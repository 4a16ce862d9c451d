package queue

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/recording"
)

// response records the answer, and names this instance in a 421 of its app.
type response struct {
	recording.Writer
	instance *string     // Nil, or may be empty: it is not named.
	upgraded atomic.Bool // It is a tunnel.
	failed   bool        // Its caller did not take all, or what was sent from ended early.
	isWhole  bool        // It was answered to the end.
}

// Starting adds the instance's name to the app's own 421: by that the activator knows that
// the request was not misdirected.
func (r *response) Starting(status int) {
	if status == http.StatusMisdirectedRequest && r.instance != nil && *r.instance != "" {
		r.Header().Set(wadi.HeaderInstance, *r.instance)
	}
}

// Write notes whether the caller has taken b.
func (r *response) Write(b []byte) (int, error) {
	n, err := r.Writer.Write(b)
	r.failed = r.failed || err != nil
	return n, err
}

// ReadFrom notes whether all was taken. When it was not, either end may have failed.
func (r *response) ReadFrom(from io.Reader) (int64, error) {
	n, err := r.Writer.ReadFrom(from)
	r.failed = r.failed || err != nil
	return n, err
}

// Hijack notes that the request was upgraded.
func (r *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := r.Writer.Hijack()
	if err == nil {
		r.upgraded.Store(true)
	}
	return conn, rw, err
}
