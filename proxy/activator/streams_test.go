package activator_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
)

func TestStripsInternalHeaders(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	g.place(b.ep)
	r := g.request(t, http.MethodGet, "/", nil)
	for _, h := range wadi.InternalHeaders() {
		r.Header.Set(h, "forged")
	}
	r.Header.Set(wadi.HeaderTag, "canary")
	if got := g.do(r); got.body != "alloc-1" {
		t.Fatalf("got %v", got)
	}
	h := b.last().Header
	for _, name := range wadi.InternalHeaders() {
		if strings.Contains(strings.Join(h.Values(name), ","), "forged") {
			t.Errorf("%s reached the instance", name)
		}
	}
	if h.Get(wadi.HeaderTag) != "canary" {
		t.Error("the caller's tag is gone")
	}
}

func TestH2C(t *testing.T) {
	g := newRig(t, settings())
	g.act.SetRoutes(routes(settings(), wadi.H2C))
	b := newBackend(t, "alloc-1")
	g.set(func(c *cluster) { c.onWake = func(string) { c.place(b.ep) } })
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	for range 2 {
		res, err := (&http.Client{Transport: tr}).Do(g.request(t, http.MethodPost, "/", strings.NewReader("x")))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.ProtoMajor != 2 || string(got) != "alloc-1" {
			t.Errorf("got %s over %s", got, res.Proto)
		}
	}
	if b.last().ProtoMajor != 2 {
		t.Errorf("the instance was asked over %s", b.last().Proto)
	}
}

func TestStreams(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	b.app = func(w http.ResponseWriter, r *http.Request) { // Echoes each line as it comes.
		_ = http.NewResponseController(w).EnableFullDuplex()
		lines := bufio.NewReader(r.Body)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = io.WriteString(w, line)
			_ = http.NewResponseController(w).Flush()
		}
	}
	g.set(func(c *cluster) { c.onWake = func(string) { c.place(b.ep) } })
	in, out := io.Pipe()
	r := g.request(t, http.MethodPost, "/", in)
	go func() { _, _ = io.WriteString(out, "one\n") }()
	res, err := g.srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for _, want := range []string{"one\n", "two\n", "three\n"} {
		if got, err := lines.ReadString('\n'); got != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
		if want != "three\n" {
			next := map[string]string{"one\n": "two\n", "two\n": "three\n"}[want]
			if _, err := io.WriteString(out, next); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = out.Close()
}

func TestSlowAppAndEndlessBody(t *testing.T) {
	set := settings()
	set.Timeout.Request = wadi.Duration(200 * time.Millisecond)
	g := newRig(t, set)
	app, release := held()
	defer release()
	b := newBackend(t, "alloc-1")
	b.app = app
	g.place(b.ep)
	wantRefusal(t, g.get(t), 504, "request_timeout", "longer than 200ms")

	b.set(func(b *backend) {
		b.app = func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
	})
	in, out := io.Pipe()
	defer out.Close()
	go func() {
		for {
			if _, err := out.Write(make([]byte, 1024)); err != nil {
				return
			}
		}
	}()
	if got := g.do(g.request(t, http.MethodPost, "/", in)); got.status != 504 && got.err == nil {
		t.Errorf("an endless body got %v", got)
	}
	until(t, "nothing in flight", func() bool { return g.gauge(t, "wadi_activator_in_flight_requests") == 0 })
}

func TestAnswerBreaksOff(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	b.app = func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	g.place(b.ep)
	if got := g.get(t); got.err == nil {
		t.Errorf("got %v, want a broken answer", got)
	}
	until(t, "nothing in flight", func() bool { return g.gauge(t, "wadi_activator_in_flight_requests") == 0 })
}
