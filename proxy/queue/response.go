package queue

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
)

// response notes what is answered.
type response struct {
	http.ResponseWriter
	instance string
	status   int // 0 before an answer.
	bytes    int64
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
	}
	return conn, rw, err
}

// accessLog writes one JSON line for each request that was served. Queries are
// left out: they may hold secrets.
type accessLog struct {
	cfg Config

	mu sync.Mutex
	w  io.Writer
}

type accessLine struct {
	Time            time.Time `json:"time"`
	Method          string    `json:"method"`
	Host            string    `json:"host"`
	Path            string    `json:"path"`
	Protocol        string    `json:"protocol"`
	Status          int       `json:"status"` // 0: the caller left before an answer.
	Bytes           int64     `json:"bytes"`
	DurationSeconds float64   `json:"duration_seconds"`
	WaitSeconds     float64   `json:"wait_seconds"`
	Revision        string    `json:"revision"`
	Instance        string    `json:"instance,omitempty"`
}

func (a *accessLog) write(req *request, r *http.Request) {
	line, err := json.Marshal(accessLine{
		Time: req.begun.UTC(), Method: r.Method, Host: r.Host, Path: req.path, Protocol: r.Proto,
		Status: req.status, Bytes: req.bytes,
		DurationSeconds: time.Since(req.begun).Seconds(), WaitSeconds: req.waited.Seconds(),
		Revision: a.cfg.Revision, Instance: a.cfg.Instance,
	})
	if err != nil {
		return // Strings and numbers always encode.
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_, _ = a.w.Write(append(line, '\n')) // A full disk must not fail requests.
}
