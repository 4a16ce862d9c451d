package upstream_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// A peer that neither says anything nor closes its side is believed to be at work for a
// bounded time, whatever broke the request off.
func TestLinger_IsBounded(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"before the answer": 100 * time.Millisecond, "waiting for leave": 700 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan struct{})
			app := rawApp(t, func(_ int, _ net.Conn, in *bufio.Reader) {
				_, _ = head(in)
				<-ended
			})
			u := upstream.New(upstream.Config{Addr: app, Linger: 300 * time.Millisecond})
			defer u.Close()
			k := deadline.NewTimer(wadi.Timeouts{Request: wadi.Duration(timeout)})
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			if name != "before the answer" {
				r.Header.Set("Expect", "100-continue")
				body, sender := io.Pipe()
				defer sender.Close()
				r.Body, r.ContentLength = body, 5
			}
			free := make(chan struct{})
			var timed deadline.Tracker
			w := httptest.NewRecorder()
			func() {
				defer timed.End()
				defer timed.WhenPeersDone(func() { close(free) })
				if err := u.Forward(&timed, k.Begin(&timed, w, r, time.Now())); err == nil {
					t.Error("there was an answer")
				}
			}()
			if w.Code != http.StatusGatewayTimeout {
				t.Errorf("got %d, want 504", w.Code)
			}
			<-free
			close(ended)
		})
	}
}
