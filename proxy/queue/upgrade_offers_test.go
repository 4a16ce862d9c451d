package queue_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// An offer to upgrade to a protocol that the app's own can't carry is ignored, for apps of
// both protocols: the request is answered as without it. Java's client offers HTTP/2 with
// each first request.
func TestTraffic_IgnoredOffers(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %q %v %v %v", r.Method, body, err, r.Header["Upgrade"], r.Header["Http2-Settings"])
	}
	for _, protocol := range []string{"http1", "h2c", "grpc"} {
		s := start(t, app, "WADI_PROTOCOL="+protocol)
		for _, offer := range []string{
			"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
			"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
			"Connection: upgrade\r\nUpgrade: TLS/1.0, HTTP/2.0\r\n",
			"Upgrade: h2c\r\n", "HTTP2-Settings: AAMAAABkAAQAAP__\r\n",
			"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: \xff\r\n",
			"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
		} {
			if protocol == "http1" && (strings.Contains(offer, "websocket") || strings.Contains(offer, "\xff")) {
				continue // The app gets that.
			}
			for method, body := range map[string]string{"GET": "", "POST": "hello"} {
				c, err := net.Dial("tcp", s.Addr())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				request := fmt.Sprintf("%s / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%s\r\n%s", method, len(body), offer, body)
				in := bufio.NewReader(c)
				for i := range 2 { // And once more over the same connection.
					_, _ = io.WriteString(c, request)
					res, err := http.ReadResponse(in, nil)
					if err != nil {
						t.Fatalf("%s, %q, request %d: %v", protocol, offer, i, err)
					}
					got, err := io.ReadAll(res.Body)
					if want := fmt.Sprintf("%s %q <nil> [] []", method, body); err != nil || res.StatusCode != 200 || string(got) != want {
						t.Errorf("%s, %q, request %d: got %d %q, %v, want %q", protocol, offer, i, res.StatusCode, got, err, want)
					}
				}
			}
		}
	}
}
