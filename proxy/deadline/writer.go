package deadline

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// A [Tracker] is the writer of its answer.
var (
	_ http.ResponseWriter = (*Tracker)(nil)
	_ io.ReaderFrom       = (*Tracker)(nil)
)

// Header returns the answer's header.
func (t *Tracker) Header() http.Header { return t.w.Header() }

// Unwrap returns the writer below, for [http.ResponseController].
func (t *Tracker) Unwrap() http.ResponseWriter { return t.w }

// WriteHeader begins the answer, or sends an informational one. The caller may make it take
// arbitrarily long, so the mutex is not held meanwhile.
func (t *Tracker) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		if t.begin() == nil {
			t.w.WriteHeader(status)
		}
		return
	}
	if !t.inform(true) {
		return
	}
	t.w.WriteHeader(status)
	t.inform(false)
}

// inform notes whether an informational answer is being sent. False: none may be sent.
func (t *Tracker) inform(now bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.informing = now
	return t.expired == nil
}

// begin notes that the answer is being sent. From then on the end of the time breaks it off.
func (t *Tracker) begin() error {
	if !t.sent {
		t.mu.Lock()
		if t.expired == nil {
			t.sent = true
		}
		t.mu.Unlock()
		if !t.sent {
			return http.ErrHandlerTimeout
		}
	} else if t.ctx.Ended() && t.timeIsOver() {
		return http.ErrHandlerTimeout
	}
	t.touch()
	return nil
}

func (t *Tracker) timeIsOver() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.expired != nil
}

// touch notes that a byte was sent.
func (t *Tracker) touch() {
	if t.of.limits.Idle > 0 {
		t.last.Store(int64(time.Since(t.begun)))
	}
}

// Write sends b. The time that a slow caller takes for it counts as a pause.
func (t *Tracker) Write(b []byte) (int, error) {
	if err := t.begin(); err != nil {
		return 0, err
	}
	t.unflushed = true
	n, err := t.w.Write(b)
	if err == nil {
		t.touch()
	}
	return n, err
}

// ReadFrom sends what r has. The writer below does it, in a better way than copying, unless
// the pause between two bytes is limited.
func (t *Tracker) ReadFrom(r io.Reader) (int64, error) {
	below, ok := t.w.(io.ReaderFrom)
	if !ok || t.of.limits.Idle > 0 {
		return io.Copy(flushing{t}, r)
	}
	if err := t.begin(); err != nil {
		return 0, err
	}
	t.unflushed = true
	return below.ReadFrom(r)
}

// flushing sends at once what is written.
type flushing struct{ t *Tracker }

func (w flushing) Write(b []byte) (int, error) {
	n, err := w.t.Write(b)
	if err == nil {
		err = w.t.FlushError()
	}
	if errors.Is(err, http.ErrNotSupported) {
		err = nil // The writer below holds nothing back.
	}
	return n, err
}

// FlushError sends what is buffered, after the header.
func (t *Tracker) FlushError() error {
	if err := t.begin(); err != nil {
		return err
	}
	t.unflushed = false
	return http.NewResponseController(t.w).Flush()
}

// Hijack hands the connection over for an upgrade. From then on only the idle limit counts,
// in both directions.
func (t *Tracker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.expired != nil {
		return nil, nil, http.ErrHandlerTimeout
	}
	conn, rw, err := http.NewResponseController(t.w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	t.touch()
	t.upgraded = NewUpgraded(conn, t.r, t.touch)
	if t.goingAway {
		go t.upgraded.GoAway()
	}
	return t.upgraded, rw, nil
}
