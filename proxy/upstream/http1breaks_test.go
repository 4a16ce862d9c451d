package upstream_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/proxy/upstream"
)

// An app that is gone after a connection broke under a request: had it read that, it may
// have died of it, and the request counts as seen; had it not, the request was refused.
func TestHTTP1_DiedUnderARequest(t *testing.T) {
	for name, reads := range map[string]bool{"of it": true, "before it read it": false} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			second := make(chan struct{}) // The second request has been sent.
			died := make(chan struct{})
			go func() {
				defer close(died)
				c, err := l.Accept()
				if err != nil {
					return
				}
				r := bufio.NewReader(c)
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				if reads {
					_, _ = http.ReadRequest(r)
				} else {
					<-second
				}
				_ = l.Close()
				_ = c.Close()
			}()
			u := upstream.New(upstream.Config{Addr: l.Addr().String()})
			defer u.Close()
			if err := u.Forward(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)); err != nil {
				t.Fatal(err)
			}
			got := make(chan error, 1)
			go func() { got <- u.Forward(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)) }()
			if !reads {
				unreadBytes(t, l.Addr().(*net.TCPAddr).Port)
			}
			close(second)
			<-died
			var failed *upstream.ForwardError
			if err := <-got; !errors.As(err, &failed) || failed.Refused == reads {
				t.Errorf("got %v (refused: %t), want refused: %t", err, failed != nil && failed.Refused, !reads)
			}
		})
	}
}

// An app that ends before it has accepted a connection has seen nothing of the request on
// it, and nothing listens any more: it was refused.
func TestHTTP1_EndedBeforeItAccepted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := upstream.New(upstream.Config{Addr: l.Addr().String()})
	defer u.Close()
	got := make(chan error, 1)
	go func() { got <- u.Forward(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)) }()
	unreadBytes(t, l.Addr().(*net.TCPAddr).Port)
	_ = l.Close()
	var failed *upstream.ForwardError
	if err := <-got; !errors.As(err, &failed) || !failed.Refused || !failed.Gone() || failed.Breaks != (upstream.Breaks{Reset: 1}) {
		t.Errorf("got %+v, want it refused after a reset", failed)
	}
}

// unreadBytes waits until something has come for the server at a port that it has not
// read.
func unreadBytes(t *testing.T, port int) {
	t.Helper()
	at := fmt.Sprintf(":%04X ", port)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		b, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			t.Skip(err)
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line) // Number, local, remote, state, sent:unread …
			if len(f) > 4 && f[3] == "01" && strings.HasSuffix(f[1]+" ", at) && !strings.HasSuffix(f[4], ":00000000") {
				return
			}
		}
	}
	t.Fatal("nothing comes")
}
