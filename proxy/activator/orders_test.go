package activator_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wadi-run/wadi"
)

// refusesToGo is the app of an instance with the order to go.
func refusesToGo(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set(wadi.HeaderOrder, string(wadi.OrderGo))
	w.WriteHeader(http.StatusMisdirectedRequest)
}

// An instance with the order to go says so in its answers, also where it serves the
// request. Other instances take the requests until it stays after all.
func TestOrderToGo(t *testing.T) {
	for name, app := range map[string]http.HandlerFunc{
		"refused": refusesToGo,
		"served":  func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(wadi.HeaderOrder, string(wadi.OrderGo)) },
	} {
		for _, protocol := range []wadi.Protocol{wadi.HTTP1, wadi.H2C} {
			t.Run(name+" "+string(protocol), func(t *testing.T) {
				g := newRig(t, settings())
				g.act.SetRoutes(routes(settings(), protocol))
				one, two := newBackend(t, "alloc-1"), newBackend(t, "alloc-2")
				g.place(one.ep, two.ep)
				until(t, "both are used", func() bool { return g.get(t).body == "alloc-1" })
				until(t, "both are used", func() bool { return g.get(t).body == "alloc-2" })
				before, _, _ := one.counts()
				one.set(func(b *backend) { b.going, b.app = true, app })
				until(t, "it is asked once", func() bool {
					got := g.do(g.request(t, http.MethodPost, "/", strings.NewReader("body")))
					if got.status != 200 || got.header.Get(wadi.HeaderOrder) != "" {
						t.Fatalf("%v %v", got, got.header)
					}
					n, _, _ := one.counts()
					return n == before+1
				})
				for range 20 {
					if got := g.do(g.request(t, http.MethodPost, "/", strings.NewReader("body"))); got.body != "alloc-2" {
						t.Fatalf("%v", got)
					}
				}
				if n, _, _ := one.counts(); n != before+1 {
					t.Errorf("it got %d requests after it had said that it is about to go", n-before-1)
				}
				one.set(func(b *backend) { b.going, b.app = false, nil })
				until(t, "it is used again", func() bool { return g.get(t).body == "alloc-1" })
			})
		}
	}
}

func TestSendOrder(t *testing.T) {
	for _, protocol := range []wadi.Protocol{wadi.HTTP1, wadi.H2C} {
		set := settings()
		set.Proof = "secret"
		g := newRig(t, set)
		g.act.SetRoutes(routes(set, protocol))
		var got atomic.Pointer[http.Header]
		b := newBackend(t, "alloc-1")
		b.order = func(w http.ResponseWriter, r *http.Request) {
			got.Store(&r.Header)
			w.Header().Set(wadi.HeaderOrder, r.Header.Get(wadi.HeaderOrder))
			_, _ = io.WriteString(w, `{"order": "go", "requests": 2, "tunnels": 1, "since_ms": 1500, "quiet_ms": 500}`)
		}
		told, err := g.act.SendOrder(t.Context(), b.ep, wadi.OrderGo)
		if want := (wadi.OrderAnswer{Order: wadi.OrderGo, Requests: 2, Tunnels: 1, SinceMS: 1500, QuietMS: 500}); err != nil || told != want {
			t.Fatalf("%s: %+v %v", protocol, told, err)
		}
		h := *got.Load()
		if h.Get(wadi.HeaderProxied) != "secret" || h.Get(wadi.HeaderProbe) != revision || h.Get(wadi.HeaderInstance) != "alloc-1" {
			t.Errorf("%s: it was sent %v", protocol, h)
		}
		b.order = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }
		if _, err := g.act.SendOrder(t.Context(), b.ep, wadi.OrderGo); !errors.Is(err, wadi.ErrNoOrders) {
			t.Errorf("%s: refused: %v", protocol, err)
		}
		b.order = nil // As an older queue-proxy: it is a probe to it.
		if _, err := g.act.SendOrder(t.Context(), b.ep, wadi.OrderGo); !errors.Is(err, wadi.ErrNoOrders) {
			t.Errorf("%s: older: %v", protocol, err)
		}
		b.stop()
		if _, err := g.act.SendOrder(t.Context(), b.ep, wadi.OrderGo); err == nil || errors.Is(err, wadi.ErrNoOrders) {
			t.Errorf("%s: gone: %v", protocol, err)
		}
	}
}
