package queue_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The queue-proxy's own answers end although the rest of a body never comes: a drain waits
// for no such caller.
func TestTraffic_OwnAnswersDontWaitForBodies(t *testing.T) {
	s := startSettling(t, settleSoon, http.NotFound, "WADI_CONCURRENCY_LIMIT=1", "WADI_TIMEOUT_REQUEST=10m")
	gone := startUnready(t, "127.0.0.1:1", "WADI_TIMEOUT_REQUEST=500ms")
	for name, tt := range map[string]struct {
		s          *sidecar
		head, want string
	}{
		"probe":     {s, "Wadi-Probe: hello-00001\r\n", "200"},
		"421":       {s, "Wadi-Revision: other\r\n", "421"},
		"malformed": {s, "Connection: upgrade\r\nUpgrade: a b\r\nContent-Length: 6\r\n", "400"},
		"not ready": {gone, "", "504"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", tt.s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\n"+tt.head+"Content-Length: 5\r\n\r\nab")
			got, err := io.ReadAll(c)
			if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 "+tt.want) {
				t.Errorf("got %q, %v, want %s and the end", got, err, tt.want)
			}
		})
	}
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nWadi-Probe: hello-00001\r\nContent-Length: 5\r\n\r\nab")
	s.stop()
	over := make(chan error, 1)
	go func() { over <- s.ended() }()
	select {
	case err := <-over:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the drain waits for a body that is not needed")
	}
}
