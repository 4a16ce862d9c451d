package queue_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An HTTP/2 caller requests a long answer with an open window, and reads nothing: its request
// ends at its deadline, and the next caller is served.
func TestTraffic_DeafHTTP2Caller(t *testing.T) {
	begun := make(chan struct{}, 1)
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/much" {
			_, _ = io.WriteString(w, "ok")
			return
		}
		begun <- struct{}{}
		for b := make([]byte, 64<<10); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}, "WADI_CONCURRENCY_LIMIT=1", "WADI_TIMEOUT_REQUEST=2s")
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
	askDeaf(t, c, "/much")
	<-begun
	eventually(t, "its place", func() bool { return s.metric("wadi_queue_in_flight_requests") == "0" })
}

// askDeaf sends a request over HTTP/2 with an unbounded window.
func askDeaf(t *testing.T, c net.Conn, path string) {
	t.Helper()
	const most = 1<<31 - 1
	_, _ = io.WriteString(c, http2.ClientPreface)
	f := http2.NewFramer(c, c)
	_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: most})
	_ = f.WriteWindowUpdate(0, most-65535)
	var head bytes.Buffer
	enc := hpack.NewEncoder(&head)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", path}} {
		_ = enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndHeaders: true, EndStream: true}); err != nil {
		t.Fatal(err)
	}
}

// deafSoon is longer than a caller that reads needs, even on a busy machine.
const deafSoon = 5 * time.Second
