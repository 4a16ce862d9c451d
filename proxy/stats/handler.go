package stats

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/wadi-run/wadi/proxy/deadline"
)

// MaxWait bounds how long a poll of the statistics may wait.
const MaxWait = 5 * time.Minute

// Handler answers GET ?since=N&wait=30s with the statistics of r as one JSON object; see
// [wadi.Stats]. It answers at once if a second from N on had a request. Else it waits: until
// the second is over if a request is in flight, until a request comes if there is none, and
// at most for wait (0: not at all). So an idle source costs nothing and a busy one answers
// once a second. Seconds below now that an answer leaves out are zero. A since beyond now is
// of an earlier boot: it is answered at once, so that the reader sees the new boot.
//
// The functions in annotate may set headers of an answer, just before it is sent.
func Handler(r *Recorder, annotate ...func(http.Header)) http.Handler {
	h := &handler{clock: r.clock, annotate: annotate, mediaType: "application/json"}
	h.recorders = func() []*Recorder { return []*Recorder{r} }
	return h
}

// HandlerOfMany answers as Handler does for all recorders of a process,
// which share clock: one JSON object for each, in lines.
func HandlerOfMany(clock *Clock, recorders func() []*Recorder) http.Handler {
	return &handler{clock: clock, recorders: recorders, mediaType: "application/x-ndjson"}
}

type handler struct {
	clock     *Clock
	recorders func() []*Recorder
	annotate  []func(http.Header)
	mediaType string
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	since, wait, err := query(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if wait > 0 && since <= h.clock.Now() { // A later second is of another boot of this source.
		h.wait(r.Context(), since, wait)
	}
	deadline.EndUnread(w, r)
	w.Header().Set("Content-Type", h.mediaType)
	for _, annotate := range h.annotate {
		annotate(w.Header())
	}
	lines := json.NewEncoder(w)
	for _, rec := range h.recorders() {
		if lines.Encode(rec.Snapshot(since)) != nil {
			return // The reader has gone.
		}
	}
}

func query(r *http.Request) (since int64, wait time.Duration, err error) {
	q := r.URL.Query()
	if v := q.Get("since"); v != "" {
		if since, err = strconv.ParseInt(v, 10, 64); err != nil || since < 0 {
			return 0, 0, fmt.Errorf("since must be a whole number of seconds, not %q", v)
		}
	}
	if v := q.Get("wait"); v != "" {
		if wait, err = time.ParseDuration(v); err != nil || wait < 0 {
			return 0, 0, fmt.Errorf("wait must be a duration such as 30s, not %q", v)
		}
	}
	return since, min(wait, MaxWait), nil
}

// wait returns when there is a sample from since on, when the clock is woken, or after limit.
func (h *handler) wait(ctx context.Context, since int64, limit time.Duration) {
	expired := time.NewTimer(limit)
	defer expired.Stop()
	_, before := h.clock.lastWake()
	for {
		active := h.clock.listen() // Before the check, so that nothing is missed.
		have, coming := h.pending(since)
		wake, count := h.clock.lastWake()
		if have || count != before || wake >= since && wake < h.clock.Now() {
			return
		}
		var over <-chan time.Time // When the current second is over.
		if coming || wake >= since {
			over = time.After(time.Second - time.Since(h.clock.start)%time.Second)
		}
		select {
		case <-active:
		case <-over:
		case <-expired.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (h *handler) pending(since int64) (have, coming bool) {
	for _, r := range h.recorders() {
		has, will := r.pending(since)
		have, coming = have || has, coming || will
	}
	return have, coming
}
