package upstream_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// A peer is offered no longer frames than must be: each that begins takes memory for
// all of it.
func TestHTTP2_Frames(t *testing.T) {
	ours, peer := net.Pipe()
	defer peer.Close()
	u := upstream.New(upstream.Config{Addr: "app", Protocol: wadi.H2C,
		Dial: func(context.Context) (net.Conn, error) { return ours, nil }})
	defer u.Close()
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = u.Forward(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	}()
	defer func() { cancel(); _ = peer.Close(); <-over }()
	_ = peer.SetDeadline(time.Now().Add(time.Minute))
	go func() { // Nothing of a longer one need come.
		_, _ = peer.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0})
		const longer = proxy.FrameSize + 1
		_, _ = peer.Write([]byte{longer >> 16, longer >> 8 & 0xff, longer & 0xff, 0, 0, 0, 0, 0, 1})
	}()
	if _, err := io.Copy(io.Discard, peer); err != nil {
		t.Errorf("%v, want the end: the frame is too long", err)
	}
}
