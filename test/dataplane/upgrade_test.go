//go:build e2e

package dataplane_test

import (
	"net"
	"strings"
	"testing"
)

// switches asks for another protocol and reads the app's first line in it.
func (w *wire) switches(protocol string) {
	w.t.Helper()
	w.ask("GET", "/switch", "Connection: keep-alive, Upgrade", "Upgrade: "+protocol,
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
	res := w.answer("GET")
	if res.StatusCode != 101 || !strings.EqualFold(res.Header.Get("Upgrade"), protocol) || !strings.EqualFold(res.Header.Get("Connection"), "Upgrade") {
		w.t.Fatalf("got %d %v, want a switch to %s", res.StatusCode, res.Header, protocol)
	}
	if got := w.line(); got != "hello" {
		w.t.Fatalf("got %q, want the app's first line", got)
	}
}

func webSocket(t *testing.T, w *wire) {
	w.switches("websocket")
	for _, text := range []string{"\x81\x05hello", strings.Repeat("\x00\xff", 40000)} {
		w.say(text + "\n")
		if got := w.line(); got != text {
			t.Fatalf("got %d bytes back, want %d", len(got), len(text))
		}
	}
}

// halfClosed: a side that has closed its half still receives the rest of the other.
func halfClosed(t *testing.T, w *wire) {
	w.switches("websocket")
	w.say("last words\n")
	must(t, "close one direction", w.Conn.(*net.TCPConn).CloseWrite())
	if got := w.wantClosed(); got != "last words\nbye\n" {
		t.Errorf("got %q, want what was said, and the app's farewell", got)
	}
}

// upgradeRefused: an app that does not know the protocol answers as usual.
func upgradeRefused(t *testing.T, w *wire) {
	w.ask("GET", "/healthz", "Connection: Upgrade", "Upgrade: nothing/1")
	w.want("GET", 200, "ok\n")
	w.ask("GET", "/healthz")
	w.want("GET", 200, "ok\n")
}
