package queue_test

import (
	"net"
	"net/http"
	"testing"
)

// An instance is not ready for callers while its Envoy does not listen.
func TestReady_WithEnvoyOnly(t *testing.T) {
	addr := freeAddr(t)
	s := startUnready(t, serveApp(t, func(http.ResponseWriter, *http.Request) {}), "WADI_ENVOY="+addr)
	eventually(t, "ready but for Envoy", func() bool { return s.get(s.MetricsAddr(), "/ready").text == "Envoy does not listen\n" })
	want := func(status int) {
		t.Helper()
		if a := s.get(s.MetricsAddr(), "/ready"); a.StatusCode != status {
			t.Errorf("/ready: got status %d %q, want %d", a.StatusCode, a.text, status)
		}
	}
	want(503)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	want(200)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	want(503)
}
