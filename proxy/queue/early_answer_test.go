package queue_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// An answer goes out although the rest of a short body never comes: a caller that waits for
// 100 Continue gets the app's refusal.
func TestTraffic_AnswerBeforeTheBody(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close") // Otherwise net/http would fail on the rest of the body.
		_ = http.NewResponseController(w).EnableFullDuplex()
		http.Error(w, "no", http.StatusExpectationFailed)
	})
	for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"+expect+"\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || res.StatusCode != http.StatusExpectationFailed {
			t.Errorf("with %q: got %v, %v, want the app's answer", expect, res, err)
		}
	}
}
