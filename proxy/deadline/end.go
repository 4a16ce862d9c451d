package deadline

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
)

const (
	// bodyTimeout is how long an unwanted rest of a body may take to come. The server reads up
	// to 256 KiB of it and uses the connection again; else it closes the connection.
	bodyTimeout = time.Second / 2
	// answerTimeout is how long a caller may take to read enough for the last bytes of an
	// answer to be sent.
	answerTimeout = 10 * time.Second
	// answerTimeoutUnlimited is the same where the request had no limit: the answer's beginning
	// may have filled the system's buffers, and the network may be slow.
	answerTimeoutUnlimited = 5 * time.Minute
)

// EndUnread bounds what a server still does for a request that the program answers itself
// without reading its body: the server reads the rest of the body, which may never come, and
// sends the answer, which the caller may never read. Both would hold a connection, and a
// drain, for as long as the caller likes.
//
// It is called when the answer is decided and before it is written; the handler must return
// soon after. Unless the body has come the server closes the connection then, and says so in
// the answer. For HTTP/2, where the server resets the stream, only the sending is bounded. It
// does nothing to writers that are not a server's.
func EndUnread(w http.ResponseWriter, r *http.Request) {
	c, now := http.NewResponseController(w), time.Now()
	if r.ProtoMajor == 1 || !isHeaderAlone(r) {
		_ = c.SetWriteDeadline(now.Add(answerTimeout)) // It fails on writers that have no connection.
	}
	if r.ProtoMajor == 1 && r.Body != nil && r.Body != http.NoBody {
		_ = c.SetReadDeadline(now.Add(bodyTimeout)) // So does this.
	}
}

// isHeaderAlone reports whether the program's own answer to r, over HTTP/2, is a header
// without a body. HTTP/2 has no flow control for headers, so that no bound is needed. A
// deadline set after such a stream has ended would keep the stream in memory, and reset it
// later.
func isHeaderAlone(r *http.Request) bool {
	return proxy.IsGRPC(r) || r.Method == http.MethodHead || r.Header[wadi.HeaderProbe] != nil
}

// bound does the same when a handler has ended, also if the app has answered; the rest of an
// answer may then take what is left of the request's time. The server lifts both deadlines
// before the next request.
func (t *Tracker) bound() {
	if t.r.ProtoMajor != 1 && !t.unflushed {
		return
	}
	t.endReading()
	c, now := http.NewResponseController(t.w), time.Now()
	if t.hasBody && t.r.ProtoMajor == 1 {
		_ = c.SetReadDeadline(now.Add(bodyTimeout)) // It fails on writers that have no connection.
	}
	var end time.Time
	if limit := t.of.limits.Request; limit > 0 {
		end = t.begun.Add(limit.D())
	}
	EndAnswer(t.w, end)
}

// EndAnswer bounds the sending of the part of an answer that is buffered when the handler
// ends: until end, the request's own deadline or zero if it has none, but at least 10 s. For
// HTTP/2 it is needed only where some of a body is not flushed.
func EndAnswer(w http.ResponseWriter, end time.Time) {
	now := time.Now()
	if end.IsZero() {
		end = now.Add(answerTimeoutUnlimited)
	}
	if soon := now.Add(answerTimeout); end.Before(soon) {
		end = soon
	}
	_ = setWriteDeadline(w, end) // It fails on writers that have no connection.
}

// setWriteDeadline does without an [http.ResponseController] where it can: that would be an
// allocation for every request.
func setWriteDeadline(w http.ResponseWriter, at time.Time) error {
	if d, ok := w.(interface{ SetWriteDeadline(time.Time) error }); ok {
		return d.SetWriteDeadline(at)
	}
	return http.NewResponseController(w).SetWriteDeadline(at)
}

// endReading ends the reading of the request's body by the goroutine that sends it on. A
// server that finds a reader when the handler ends lifts all read deadlines, and would wait
// for the rest of the body without one.
func (t *Tracker) endReading() {
	if t.hasBody && t.r.ProtoMajor == 1 {
		t.body.end(t.w)
	}
}

// trackedBody is a request's body, which can be read until the request is over.
type trackedBody struct {
	in io.ReadCloser

	reading sync.Mutex // Held while in is read.
	over    bool
}

func (b *trackedBody) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.over {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.in.Read(p)
}

func (b *trackedBody) Close() error { return b.in.Close() }

// end ends the reading, also a read that has begun. W is the writer of the body's server.
func (b *trackedBody) end(w http.ResponseWriter) {
	if !StopReading(w, &b.reading) {
		return
	}
	b.over = true
	b.reading.Unlock()
}

// StopReading locks reading, a mutex that is held while the body of w's request is read, and
// ends a read that has begun. False: it is not locked, and a read goes on, because w is not a
// server's.
func StopReading(w http.ResponseWriter, reading *sync.Mutex) bool {
	if reading.TryLock() {
		return true
	}
	if http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) != nil {
		return false
	}
	reading.Lock()
	return true
}
