package server

import (
	"net/http"
	"time"
)

// recorder records the status of an answer.
type recorder struct {
	http.ResponseWriter
	request *http.Request
	status  int
	wrote   bool
}

func (r *recorder) WriteHeader(status int) {
	if !r.wrote && status >= 200 {
		r.status = status
		r.begin()
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if !r.wrote {
		r.begin()
	}
	return r.ResponseWriter.Write(b)
}

// begin notes that the answer begins. The server then reads and discards the rest of the
// request's body, to use the connection again: that rest has to come soon.
func (r *recorder) begin() {
	r.wrote = true
	if r.request.Body != nil && r.request.Body != http.NoBody {
		_ = http.NewResponseController(r.ResponseWriter).SetReadDeadline(time.Now().Add(discardTimeout)) // Recorders in tests don't support it.
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
