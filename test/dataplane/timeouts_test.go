//go:build e2e

package dataplane_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// TestTimeouts: before the first byte of an answer a timeout is 504; after it the answer
// is broken off, and nothing is added to it.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, timeout string
		sleeps        bool // It ends also what has not begun to be answered.
		switched      bool // It ends upgraded connections.
	}{
		{"request", `request = "2s"`, true, false},
		{"response-start", `response_start = "1s"`, true, false},
		{"idle", `idle = "1s"`, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			name := "times-" + tt.name
			up(t, name, options{timeout: tt.timeout})
			if tt.sleeps {
				res := stack.Get(t, name, "/sleep?for=1h")
				harnesstest.WantStatus(t, res, http.StatusGatewayTimeout)
			}
			if tt.name != "response-start" {
				t.Run("HTTP/1", func(t *testing.T) { cutHTTP1(t, name) })
				t.Run("HTTP/2", func(t *testing.T) { cutHTTP2(t, name) })
			}
			t.Run("upgraded", func(t *testing.T) { talks(t, name, tt.switched) })
		})
	}
}

// cutHTTP1: the connection ends after what the app sent.
func cutHTTP1(t *testing.T, name string) {
	for path, want := range map[string]string{"/half": "half", "/events?key=never": "b\r\ndata: one\n\n\r\n"} {
		w := dial(t, name)
		w.ask("GET", path)
		for w.line() != "" { // The head.
		}
		if got := w.wantClosed(); got != want {
			t.Errorf("%s: got %q, want %q and the end", path, got, want)
		}
	}
}

// cutHTTP2: the stream is reset, and the connection stays open.
func cutHTTP2(t *testing.T, name string) {
	c := stack.H2Client(t)
	for path, want := range map[string]string{"/half": "half", "/events?key=never": "data: one\n\n"} {
		res, err := c.Get(harnesstest.URL(name, path))
		must(t, "ask", err)
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err == nil || !strings.Contains(err.Error(), "stream") || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q and the stream's reset", path, got, err, want)
		}
	}
}

// talks keeps an upgraded connection busy for longer than all timeouts, and then is quiet.
func talks(t *testing.T, name string, cut bool) {
	w := dial(t, name)
	w.switches("websocket")
	for i := range 12 {
		w.say(fmt.Sprintf("line %d\n", i))
		if got := w.line(); got != fmt.Sprintf("line %d", i) {
			t.Fatalf("got %q", got)
		}
		time.Sleep(250 * time.Millisecond)
	}
	if !cut {
		return
	}
	if rest := w.wantClosed(); rest != "" && !strings.Contains(rest, "bye") {
		t.Errorf("got %q, want the end", rest)
	}
}
