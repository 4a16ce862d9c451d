package queue_test

import (
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/proxytest"
)

// liar is an app that sets Wadi's own headers in every part of its answer.
func liar(trailers func(http.Header)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		if trailers != nil {
			trailers(r.Trailer)
		}
		h := w.Header()
		for _, name := range []string{"Wadi-Error", "Wadi-Revision", "Wadi-Proxied", "Wadi-Whatever", "Wadi_error"} {
			h.Set(name, "lie")
		}
		h.Set("Link", "true")
		w.WriteHeader(http.StatusEarlyHints)
		h.Set("Trailer", "Sum, Wadi-Error, Set-Cookie, X-Forwarded-For")
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, "body")
		for _, name := range []string{"Sum", "Wadi-Error", "Set-Cookie", "X-Forwarded-For", "Trailer:Wadi-Instance", "Trailer:Cookie", "Trailer:More"} {
			h.Set(name, "lie")
		}
		h.Set("Sum", "true")
		h.Set("Trailer:More", "true")
	}
}

// Wadi's own headers pass neither from an app, in any part of its answer, nor to the app from
// a caller's trailers.
func TestTraffic_TrailersAndAnswers(t *testing.T) {
	for _, protocol := range []wadi.Protocol{wadi.HTTP1, wadi.H2C} {
		t.Run(string(protocol), func(t *testing.T) {
			var came http.Header
			s := start(t, liar(func(h http.Header) { came = maps.Clone(h) }), "WADI_PROTOCOL="+string(protocol))
			trailers := proxytest.Fields{"sum", "true"}
			for _, name := range []string{"cookie", "wadi-proxied", "wadi-error", "x-forwarded-for", "x_forwarded_for", "x-real-ip", "x-forwarded-client-cert"} {
				trailers = append(trailers, name, "lie")
			}
			var names []string
			for i := 0; i < len(trailers); i += 2 {
				names = append(names, trailers[i])
			}
			a := askHTTP2(t, s.Addr(), proxytest.Fields{":method", "POST", ":scheme", "http", ":authority", "h", ":path", "/",
				"trailer", strings.Join(names, ", ")}, "body", trailers)
			if diff := cmp.Diff(http.Header{"Sum": {"true"}}, came); diff != "" {
				t.Errorf("trailers that the app got (-want +got):\n%s", diff)
			}
			if a.Body != "body" || a.Informed["link"] != "true" || a.Trailer["sum"] != "true" || a.Trailer["more"] != "true" {
				t.Errorf("answered %+v", a)
			}
			for what, part := range map[string]map[string]string{"hints": a.Informed, "header": a.Header, "trailers": a.Trailer} {
				for name, value := range part {
					if value == "lie" || strings.Contains(strings.ToLower(value), "wadi") || strings.Contains(value, "Cookie") {
						t.Errorf("the %s say %s: %s", what, name, value)
					}
				}
			}
			wire := overHTTP1(t, s.Addr())
			if strings.Contains(wire, "lie") || strings.Contains(wire, "adi-") || !strings.Contains(wire, "HTTP/1.1 103") || !strings.Contains(wire, "Sum: true") {
				t.Errorf("over HTTP/1:\n%s", wire)
			}
		})
	}
}

// overHTTP1 returns all bytes of the answer to a request.
func overHTTP1(t *testing.T, addr string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTe: trailers\r\n\r\n")
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// The queue-proxy's own answers have a header with the reason.
func TestRefusals_SayWhy(t *testing.T) {
	g := newGate()
	s := start(t, g.ServeHTTP, "WADI_CONCURRENCY_LIMIT=1", "WADI_QUEUE_DEPTH=1", "WADI_TIMEOUT_RESPONSE_START=2s")
	wants := func(what string, a answer, status int, code string) {
		t.Helper()
		if a.StatusCode != status || a.Header.Get("Wadi-Error") != code {
			t.Errorf("%s: %d %v, want %d and %s", what, a.StatusCode, a.Header, status, code)
		}
	}
	wants("misdirected", s.get(s.Addr(), "/", wadi.HeaderInstance, "other"), 421, "misdirected")
	answers := make(chan answer, 2)
	go func() { answers <- s.get(s.Addr(), "/in") }()
	g.next(t)
	go func() { answers <- s.get(s.Addr(), "/waits") }()
	eventually(t, "full", func() bool { return s.metric("wadi_queue_waiting_requests") == "1" })
	wants("full", s.get(s.Addr(), "/"), 503, "queue_full")
	wants("too slow", <-answers, 504, "response_start_timeout")
	wants("too slow", <-answers, 504, "response_start_timeout")

	dying := start(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	a := dying.get(dying.Addr(), "/")
	if a.StatusCode != 502 || !slices.Contains([]string{"app_failed", "app_refused"}, a.Header.Get("Wadi-Error")) {
		t.Errorf("of an app that broke off: %d %v", a.StatusCode, a.Header)
	}
}
