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
	// unreadFor is how long the rest of a body may take to come that nobody wants. What
	// does is read, up to 256 KiB, and the connection used again; else it is closed.
	unreadFor = time.Second / 2
	// unheardFor is how long a caller may take to make room for the last bytes of an
	// answer.
	unheardFor = 10 * time.Second
	// unlimitedFor is the same for the end of an answer whose request had no limit: what
	// is before it may have filled the system's buffers, and the way be slow.
	unlimitedFor = 5 * time.Minute
)

// EndUnread bounds what a server still does for a request that the program answers
// itself, without a reader of its body: the server reads the rest, which may never
// come, and sends the answer, for which the caller may never make room. Both would
// hold a connection, and a drain, for as long as the caller likes.
//
// It is to be called where the answer is decided, before it is written, and the
// handler must return soon after. That the connection is closed then unless the body
// has come, the server sees to, and says so in the answer. Of HTTP/2, where the
// server resets the stream, only the sending is bounded. Writers that are no server's
// are left alone.
func EndUnread(w http.ResponseWriter, r *http.Request) {
	c, now := http.NewResponseController(w), time.Now()
	if r.ProtoMajor == 1 || !isHeaderAlone(r) {
		_ = c.SetWriteDeadline(now.Add(unheardFor)) // It fails on writers that have no connection.
	}
	if r.ProtoMajor == 1 && r.Body != nil && r.Body != http.NoBody {
		_ = c.SetReadDeadline(now.Add(unreadFor)) // So does this.
	}
}

// isHeaderAlone reports whether the answer to r, of HTTP/2, is a header alone where the
// program answers itself. A header waits for no room that its caller makes. The bound of
// one whose stream ends at once may be noted after that: then it would be kept, with the
// stream, to its end, and reset what has ended.
func isHeaderAlone(r *http.Request) bool {
	return proxy.IsGRPC(r) || r.Method == http.MethodHead || r.Header[wadi.HeaderProbe] != nil
}

// bound does the same when a handler has ended, whoever has answered; the rest of an
// answer may take what is left of the request's time, too. The server takes both
// deadlines back before the next request.
func (t *Tracker) bound() {
	if t.r.ProtoMajor != 1 && !t.unflushed {
		return
	}
	t.endReading()
	c, now := http.NewResponseController(t.w), time.Now()
	if t.hasBody && t.r.ProtoMajor == 1 {
		_ = c.SetReadDeadline(now.Add(unreadFor)) // It fails on writers that have no connection.
	}
	var end time.Time
	if limit := t.of.limits.Request; limit > 0 {
		end = t.begun.Add(limit.D())
	}
	EndAnswer(t.w, end)
}

// EndAnswer bounds the sending of what a handler has left of an answer: to end, the
// request's own and zero if it has none, or for a moment. It is to be called when the
// handler ends; of HTTP/2 only where some of a body is not flushed, for nothing else waits
// for the caller.
func EndAnswer(w http.ResponseWriter, end time.Time) {
	now := time.Now()
	if end.IsZero() {
		end = now.Add(unlimitedFor)
	}
	if soon := now.Add(unheardFor); end.Before(soon) {
		end = soon
	}
	_ = setWriteDeadline(w, end) // It fails on writers that have no connection.
}

// setWriteDeadline is a controller's, without one where that is not needed: it costs an
// allocation of every request.
func setWriteDeadline(w http.ResponseWriter, at time.Time) error {
	if d, ok := w.(interface{ SetWriteDeadline(time.Time) error }); ok {
		return d.SetWriteDeadline(at)
	}
	return http.NewResponseController(w).SetWriteDeadline(at)
}

// endReading has nobody read the request's body any more who sends it on. Where the
// server finds a reader at the handler's end it lifts all bounds of reading, and waits
// for the rest of the body without one.
func (t *Tracker) endReading() {
	if t.hasBody && t.r.ProtoMajor == 1 {
		t.body.end(t.w)
	}
}

// trackedBody is a request's body, to be read until the request is over.
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

// end ends the reading, also what has begun: w is its server's.
func (b *trackedBody) end(w http.ResponseWriter) {
	if !StopReading(w, &b.reading) {
		return
	}
	b.over = true
	b.reading.Unlock()
}

// StopReading locks reading, which is held while the body of w's request is read, and
// ends what has begun of that. False: it is still read, as w is no server's.
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
