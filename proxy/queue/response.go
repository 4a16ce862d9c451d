package queue

import (
	"bufio"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/recording"
)

// response records the answer, and names this instance in a 421 of its app.
type response struct {
	recording.Writer
	instance string
	upgraded atomic.Bool // It is a tunnel.
}

// Starting adds the instance's name to the app's own 421: by that the activator knows that
// the request was not misdirected.
func (r *response) Starting(status int) {
	if status == http.StatusMisdirectedRequest && r.instance != "" {
		r.Header().Set(wadi.HeaderInstance, r.instance)
	}
}

// Hijack notes that the request was upgraded.
func (r *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := r.Writer.Hijack()
	if err == nil {
		r.upgraded.Store(true)
	}
	return conn, rw, err
}
