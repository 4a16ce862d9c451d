package framing_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi/proxy/framing"
	"github.com/wadi-run/wadi/proxy/proxytest"
)

const (
	headerTime = 10 * time.Second
	silence    = time.Hour
)

// checkedPipe serves h in a bubble, as the listeners of a program do, and returns a
// connection to it.
func checkedPipe(t *testing.T, h http.HandlerFunc) net.Conn {
	t.Helper()
	below := proxytest.Listen()
	l := framing.Listen(below, framing.Config{HTTP2: true, Silence: silence, Header: headerTime})
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	srv := &http.Server{Handler: h, ReadHeaderTimeout: headerTime, IdleTimeout: silence, Protocols: &both}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(l)
	}()
	c, err := below.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = c.Close(), srv.Close()
		<-served
	})
	return c
}

// endsWithin reports after how long the connection ends, which is at most limit.
func endsWithin(t *testing.T, c net.Conn, limit time.Duration) (took time.Duration) {
	t.Helper()
	begun := time.Now()
	_ = c.SetReadDeadline(begun.Add(limit))
	_, err := io.Copy(io.Discard, c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("still open after %v", limit)
	}
	return time.Since(begun)
}

// A header that has begun has to end in time, be it of the first request or of a later
// one, and however little of it has come.
func TestTime_OfAHeader(t *testing.T) {
	for _, later := range []string{"", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"} {
		for _, part := range []string{"G", "GE", "GET", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r", "P", "PRI", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM"} {
			t.Run(later+part, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := checkedPipe(t, func(http.ResponseWriter, *http.Request) {})
					if later != "" {
						io.WriteString(c, later)
						if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(silence / 2) // The silence so far makes no difference.
					go func() { _, _ = io.WriteString(c, part) }()
					endsWithin(t, c, 2*headerTime)
				})
			})
		}
	}
}

// One byte now and then does not buy more time.
func TestTime_OfAHeaderThatTrickles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := checkedPipe(t, func(http.ResponseWriter, *http.Request) {})
		over := make(chan struct{})
		go func() {
			defer close(over)
			for _, b := range []byte("GET / HTTP/1.1\r\nHost: abcdefghijklmnopqrstuvwxyz\r\n") {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(headerTime - time.Second)
			}
		}()
		endsWithin(t, c, 3*headerTime)
		_ = c.Close()
		<-over
	})
}

// A connection without a byte of a request may be silent.
func TestTime_OfSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := checkedPipe(t, func(http.ResponseWriter, *http.Request) {})
		if took := endsWithin(t, c, 2*silence); took != silence {
			t.Errorf("closed after %v, want %v", took, silence)
		}
	})
}

// A request in progress has no deadline by this package, even if some of the next one has come.
func TestTime_OfARequestBeforeTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := checkedPipe(t, func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			select {
			case <-time.After(silence / 2):
			case <-r.Context().Done():
				t.Error("the request was broken off")
			}
			if err != nil || string(b) != "body" {
				t.Errorf("body %q, %v", b, err)
			}
		})
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo")
		time.Sleep(silence / 2)
		io.WriteString(c, "dyGE")
		answers := bufio.NewReader(c)
		res, err := http.ReadResponse(answers, nil)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%v, %v, want the answer", res, err)
		}
		endsWithin(t, c, 2*headerTime)
	})
}
