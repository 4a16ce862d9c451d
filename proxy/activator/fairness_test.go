package activator_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
)

const peerHeader = "X-Peer"

// byHeader is a guard, and a gateway, that takes callers' names from a header.
type byHeader struct{ allowAll }

func (byHeader) Caller(r *http.Request) (string, error) { return r.Header.Get(peerHeader), nil }

// oneAtATime is an app that answers one request for each value it receives.
func oneAtATime(b *backend) (began <-chan string, answer chan<- struct{}) {
	in, out := make(chan string, 1000), make(chan struct{})
	b.set(func(b *backend) {
		b.app = func(_ http.ResponseWriter, r *http.Request) {
			in <- r.URL.Path
			<-out
		}
	})
	return in, out
}

// crowd is a rig in whose queue callers meet, of the mesh or from outside.
func crowd(t *testing.T, mesh bool, set wadi.RouteRevision) (g *rig, began <-chan string, answer chan<- struct{}) {
	set.ConcurrencyLimit = 1
	g = newRig(t, set, func(c *activator.Config) {
		c.Peer = func(r *http.Request) string { return r.Header.Get(peerHeader) }
	})
	if mesh {
		g.srv.Config.Handler = g.act.MeshHandler(byHeader{})
	}
	b := newBackend(t, "alloc-1")
	began, answer = oneAtATime(b)
	g.place(b.ep)
	return g, began, answer
}

// send sends a request of a caller, whose path names it, and returns its answer later.
func (g *rig) send(t *testing.T, all *sync.WaitGroup, caller string) <-chan answer {
	t.Helper()
	r := g.request(t, http.MethodGet, "/"+caller, nil)
	r.Header.Set(peerHeader, caller)
	r.Header.Set(wadi.HeaderService, service)
	r.Header.Set(wadi.HeaderRevision, revision)
	got := make(chan answer, 1)
	all.Go(func() { got <- g.do(r) })
	return got
}

// A caller with many waiting requests delays another one by a few of them, not by all.
func TestCallersTakeTurns(t *testing.T) {
	for name, mesh := range map[string]bool{"mesh": true, "outside": false} {
		t.Run(name, func(t *testing.T) {
			g, began, done := crowd(t, mesh, settings())
			var all sync.WaitGroup
			defer all.Wait()
			g.send(t, &all, "greedy")
			<-began
			for range 30 {
				g.send(t, &all, "greedy")
			}
			g.waiting(t, 30)
			for range 3 {
				g.send(t, &all, "modest")
			}
			g.waiting(t, 33)
			modest := 0
			for range 7 {
				done <- struct{}{}
				if <-began == "/modest" {
					modest++
				}
			}
			if modest != 3 {
				t.Errorf("%d of 3 were served among the next 7", modest)
			}
			close(done)
		})
	}
}

// A queue that one caller has filled takes requests of others, up to equal shares: each
// displaces the last request of the caller with the most.
func TestFullQueueIsShared(t *testing.T) {
	for name, mesh := range map[string]bool{"mesh": true, "outside": false} {
		t.Run(name, func(t *testing.T) {
			const depth = 10
			set := settings()
			set.Queue.Depth = depth
			g, began, done := crowd(t, mesh, set)
			var all sync.WaitGroup
			defer all.Wait()
			g.send(t, &all, "greedy")
			<-began
			var greedy []<-chan answer
			for range depth {
				greedy = append(greedy, g.send(t, &all, "greedy"))
			}
			g.waiting(t, depth)
			wantRefusal(t, <-g.send(t, &all, "greedy"), 503, activator.CodeQueueFull, "as may: 10")
			for range depth / 2 {
				g.send(t, &all, "modest")
			}
			refused := 0
			until(t, "half of the greedy caller's are refused", func() bool {
				for _, c := range greedy {
					select {
					case got := <-c:
						refused++
						wantRefusal(t, got, 503, activator.CodeQueueFull, "as may: 10")
					default:
					}
				}
				return refused == depth/2
			})
			g.waiting(t, depth)
			wantRefusal(t, <-g.send(t, &all, "modest"), 503, activator.CodeQueueFull, "as may: 10")
			wantRefusal(t, <-g.send(t, &all, "greedy"), 503, activator.CodeQueueFull, "as may: 10")
			close(done)
		})
	}
}

// Who waited although an instance is ready hears that it was busy.
func TestQueueTimeout_SaysWhetherAnyWasReady(t *testing.T) {
	set := settings()
	set.Queue.Timeout = wadi.Duration(100 * time.Millisecond)
	g, began, done := crowd(t, false, set)
	var all sync.WaitGroup
	defer all.Wait()
	defer close(done)
	// The first has to wait for the probe; on a busy machine in vain.
	until(t, "the instance is ready", func() bool {
		r := g.request(t, http.MethodGet, "/probe", nil)
		all.Go(func() { g.do(r) })
		select {
		case <-began:
			return true
		case <-time.After(time.Second):
			return false
		}
	})
	got := <-g.send(t, &all, "late")
	wantRefusal(t, got, 504, activator.CodeQueueTimeout, "every ready instance (1) had as many requests as it takes at once: waited 100ms for hello-00001")
}

// A request whose caller has left is not run, even if it left a moment ago.
func TestClientGoneIsNotServed(t *testing.T) {
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			g, began, done := crowd(t, false, settings())
			front := httptest.NewUnstartedServer(g.srv.Config.Handler)
			front.Config.ConnContext = activator.ConnContext
			dial := net.Dial
			if secure {
				front.StartTLS()
				client := front.Client().Transport.(*http.Transport).TLSClientConfig
				dial = func(network, addr string) (net.Conn, error) { return tls.Dial(network, addr, client) }
			} else {
				front.Start()
			}
			defer front.Close()
			var all sync.WaitGroup
			defer all.Wait()
			g.send(t, &all, "first")
			<-began
			var leaving []net.Conn
			for range 10 {
				c, err := dial("tcp", front.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(c, "POST /left HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"); err != nil {
					t.Fatal(err)
				}
				leaving = append(leaving, c)
			}
			g.waiting(t, 10)
			g.send(t, &all, "last")
			g.waiting(t, 11)
			for _, c := range leaving {
				_ = c.Close()
			}
			done <- struct{}{}
			if got := <-began; got != "/last" {
				t.Errorf("%s was served", got)
			}
			done <- struct{}{}
			g.waiting(t, 0)
			close(done)
			if len(began) > 0 {
				t.Errorf("%d more were served", len(began))
			}
		})
	}
}

// A mesh caller whose wait expires gets the reason why the instance is not ready. Callers
// from outside need not know how an app is built.
func TestQueueTimeout_SaysWhyNotReady(t *testing.T) {
	set := settings()
	set.Queue.Timeout = wadi.Duration(300 * time.Millisecond)
	for caller, want := range map[string]bool{"web": true, wadi.ServiceGateway: false} {
		g := newRig(t, set)
		g.srv.Config.Handler = g.act.MeshHandler(byHeader{})
		b := newBackend(t, "alloc-1")
		b.set(func(b *backend) { b.unready = true })
		g.place(b.ep)
		var all sync.WaitGroup
		got := <-g.send(t, &all, caller)
		all.Wait()
		if got.status != 504 || strings.Contains(got.body, "(nothing listens on 127.0.0.1:8080)") != want {
			t.Errorf("%s: got %v, want what lacks: %t", caller, got, want)
		}
	}
}
