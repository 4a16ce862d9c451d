//go:build e2e

package dataplane_test

import (
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestHTTP1 shows each corner of HTTP/1.1 on both ways to an instance. Envoy's HTTP/1, as
// Consul configures it, does not support some: trailers, interim answers (it answers
// Expect itself), upgrades other than WebSocket, and half-closed connections.
func TestHTTP1(t *testing.T) {
	t.Parallel()
	for _, way := range ways() {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			up(t, way.service("http1"), options{mesh: way.mesh})
			for _, tt := range []struct {
				name  string
				run   func(*testing.T, *wire)
				plain bool // Not through Envoy.
			}{
				{"keep-alive", keepAlive, false}, {"chunked", chunked, false}, {"trailers", trailersBothWays, true},
				{"100-continue", goesOn, false}, {"100-continue refused", refusedAtOnce, true}, {"103", earlyHints, true},
				{"HEAD", headOnly, false}, {"pipelined", pipelined, false}, {"early answer", earlyAnswer, false},
				{"no body", noBody, false}, {"full duplex", fullDuplex, false}, {"events", events, false}, {"hop by hop", hopByHop, false},
				{"Connection: close", closes, false}, {"HTTP/1.0", oldHTTP, false},
				{"broken answer", brokenAnswer, false}, {"broken chunked answer", brokenChunked, false},
				{"WebSocket", webSocket, false}, {"upgrade, half-closed", halfClosed, true}, {"upgrade refused", upgradeRefused, true},
			} {
				if tt.plain && way.mesh {
					continue
				}
				t.Run(tt.name, func(t *testing.T) { tt.run(t, dial(t, way.service("http1"))) })
			}
		})
	}
}

// way is one way to an instance.
type way struct {
	name string
	mesh bool
}

// ways are all ways on this machine.
func ways() []way {
	all := []way{{"plain", false}}
	if stack.Cluster.Bridge {
		all = append(all, way{"mesh", true})
	}
	return all
}

func (w way) service(test string) string { return test + "-" + w.name }

func keepAlive(_ *testing.T, w *wire) {
	for i := range 5 {
		w.ask("GET", fmt.Sprintf("/bytes?n=%d", i*1000))
		w.want("GET", 200, "*")
	}
}

func crcOf(s string) string {
	return fmt.Sprintf("%d %08x", len(s), crc32.Checksum([]byte(s), crc32.MakeTable(crc32.Castagnoli)))
}

func chunked(t *testing.T, w *wire) {
	w.say(head("POST", "/count", "Transfer-Encoding: chunked") + chunk("one ") + chunk(strings.Repeat("x", 70000)) + chunk("!") + "0\r\n\r\n")
	w.want("POST", 200, crcOf("one "+strings.Repeat("x", 70000)+"!"))
	w.say(head("POST", "/uri", "Transfer-Encoding: chunked") + chunk("a") + "0\r\n\r\n")
	res := w.answer("POST")
	if got := w.body(res); !strings.Contains(got, "Length: -1\nEncoding: chunked\n") {
		t.Errorf("the app got\n%s\nwant a chunked body", got)
	}
	w.ask("GET", "/healthz") // The connection is in step.
	w.want("GET", 200, "ok\n")
}

func trailersBothWays(t *testing.T, w *wire) {
	w.say(head("POST", "/trailers", "Transfer-Encoding: chunked", "TE: trailers", "Trailer: X-Tail") + chunk("12345") + "0\r\nX-Tail: a, b\r\n\r\n")
	res := w.want("POST", 200, "body")
	if sum, came := res.Trailer.Get("Sum"), res.Trailer.Get("Came"); sum != "5" || came != "a, b" {
		t.Errorf("got trailers %v, want Sum 5 and Came \"a, b\"", res.Trailer)
	}
}

func goesOn(t *testing.T, w *wire) {
	w.ask("POST", "/count", "Content-Length: 5", "Expect: 100-continue")
	if res := w.answer("POST"); res.StatusCode != http.StatusContinue {
		t.Fatalf("got %d before the body is sent, want 100", res.StatusCode)
	}
	w.say("12345")
	w.want("POST", 200, crcOf("12345"))
}

// refusedAtOnce: a caller that sends Expect gets the app's refusal before its body.
func refusedAtOnce(_ *testing.T, w *wire) {
	w.ask("POST", "/count?refuse=1", "Content-Length: 5", "Expect: 100-continue")
	w.want("POST", http.StatusExpectationFailed, "no\n")
}

func earlyHints(t *testing.T, w *wire) {
	w.ask("GET", "/hints")
	res := w.answer("GET")
	if res.StatusCode != http.StatusEarlyHints || res.Header.Get("Link") == "" {
		t.Fatalf("got %d %v first, want 103 with a Link", res.StatusCode, res.Header)
	}
	if res := w.want("GET", 200, "after the hints"); res.Header.Get("Link") != "" {
		t.Errorf("the hint's header is in the answer too: %v", res.Header)
	}
}

func headOnly(t *testing.T, w *wire) {
	w.ask("HEAD", "/bytes?n=1000")
	if res := w.want("HEAD", 200, ""); res.ContentLength != 1000 {
		t.Errorf("got length %d, want that of GET", res.ContentLength)
	}
	w.ask("GET", "/healthz")
	w.want("GET", 200, "ok\n")
}

func pipelined(_ *testing.T, w *wire) {
	var all strings.Builder
	for i := range 8 {
		text := strings.Repeat("p", i)
		all.WriteString(head("POST", "/count", fmt.Sprintf("Content-Length: %d", i)) + text)
	}
	w.say(all.String())
	for i := range 8 {
		w.want("POST", 200, crcOf(strings.Repeat("p", i)))
	}
}

// earlyAnswer arrives while most of the body is not sent yet.
func earlyAnswer(_ *testing.T, w *wire) {
	w.say(head("POST", "/early", "Content-Length: 100000000") + strings.Repeat("x", 100000))
	w.want("POST", 403, "not you\n")
}

func noBody(t *testing.T, w *wire) {
	for _, tt := range []struct{ method, header, want string }{
		{"GET", "Accept: */*", "Length: 0\nEncoding: \n"},
		{"POST", "Content-Length: 0", "Length: 0\nEncoding: \n"},
		{"DELETE", "Accept: */*", "Length: 0\nEncoding: \n"},
	} {
		w.ask(tt.method, "/uri", tt.header)
		if got := w.body(w.answer(tt.method)); !strings.Contains(got, tt.want) {
			t.Errorf("%s: the app got\n%s\nwant %q", tt.method, got, tt.want)
		}
	}
	w.ask("GET", "/bytes?n=0")
	if res := w.want("GET", 200, ""); res.ContentLength != 0 {
		t.Errorf("got length %d for an empty answer, want 0", res.ContentLength)
	}
}

// fullDuplex: each line is answered before the next is sent.
func fullDuplex(t *testing.T, w *wire) {
	w.ask("POST", "/duplex", "Transfer-Encoding: chunked")
	w.say(chunk("line 0\n"))
	res := w.answer("POST")
	wants := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	wants("line 0!\n")
	for i := 1; i < 4; i++ {
		w.say(chunk(fmt.Sprintf("line %d\n", i)))
		wants(fmt.Sprintf("line %d!\n", i))
	}
	w.say("0\r\n\r\n")
	if rest := w.body(res); rest != "" {
		t.Errorf("got %q at the end, want nothing", rest)
	}
}

// events: the first event arrives while the app waits for the signal for the second.
func events(t *testing.T, w *wire) {
	const first, second = "data: one\n\n", "data: two\n\n"
	key := strings.ReplaceAll(t.Name(), "/", "-")
	w.ask("GET", "/events?key="+key)
	res := w.answer("GET")
	got := make([]byte, len(first))
	if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != first {
		t.Fatalf("got %q, %v, want the first event", got, err)
	}
	other := dial(t, strings.TrimSuffix(w.host, ".wadi.localhost"))
	other.ask("GET", "/go?key="+key)
	other.want("GET", 200, "")
	if rest := w.body(res); rest != second {
		t.Errorf("got %q, want the second event", rest)
	}
}

func hopByHop(t *testing.T, w *wire) {
	w.ask("GET", "/uri", "Connection: X-Hop, keep-alive", "X-Hop: 1", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "X-End: 1")
	got := w.body(w.answer("GET"))
	for _, bad := range []string{"X-Hop:", "Keep-Alive:", "Proxy-Connection:"} {
		if strings.Contains(got, bad) {
			t.Errorf("the app got %s:\n%s", bad, got)
		}
	}
	if !strings.Contains(got, "X-End: 1") {
		t.Errorf("the app did not get X-End:\n%s", got)
	}
	w.ask("GET", "/hop")
	res := w.want("GET", 200, "hop")
	for _, bad := range []string{"X-Secret", "Keep-Alive", "Proxy-Connection", "Wadi-Error", "Wadi-Revision"} {
		if res.Header.Get(bad) != "" {
			t.Errorf("the caller got %s: %v", bad, res.Header)
		}
	}
	if res.Header.Get("X-Open") != "1" {
		t.Errorf("the caller did not get X-Open: %v", res.Header)
	}
}

func closes(t *testing.T, w *wire) {
	w.ask("GET", "/healthz", "Connection: close")
	w.want("GET", 200, "ok\n")
	if rest := w.wantClosed(); rest != "" {
		t.Errorf("got %q after the last answer", rest)
	}
}

func oldHTTP(t *testing.T, w *wire) {
	w.say("GET /events?key=old HTTP/1.0\r\nHost: HOST\r\n\r\n")
	other := dial(t, strings.TrimSuffix(w.host, ".wadi.localhost"))
	other.ask("GET", "/go?key=old")
	other.want("GET", 200, "")
	res := w.answer("GET")
	if len(res.TransferEncoding) > 0 {
		t.Errorf("got %v in an answer to HTTP/1.0", res.TransferEncoding)
	}
	if got := w.body(res); got != "data: one\n\ndata: two\n\n" {
		t.Errorf("got %q, want two events", got)
	}
}

// brokenAnswer: a caller sees that the app has broken off, and nothing is added.
func brokenAnswer(t *testing.T, w *wire) {
	w.ask("GET", "/die")
	res := w.answer("GET")
	if got, err := io.ReadAll(res.Body); err == nil || string(got) != "half" {
		t.Errorf("got %q, %v, want a half and an error", got, err)
	}
}

func brokenChunked(t *testing.T, w *wire) {
	w.ask("GET", "/die?chunked=1")
	res := w.answer("GET")
	if got, err := io.ReadAll(res.Body); err == nil || string(got) != "half" {
		t.Errorf("got %q, %v, want a half and an error", got, err)
	}
}
