package activator_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/proxytest"
)

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		set    func(*wadi.RouteRevision)
		do     func(*cluster)
		path   string
		status int
		code   string
		text   string
		wakes  int
		took   time.Duration
	}{
		{"no room", func(s *wadi.RouteRevision) { s.Queue.Depth = 0 }, nil, "/", 503, "queue_full", "queue is full", 0, 0},
		{"waits too long", func(s *wadi.RouteRevision) { s.Queue.Timeout = wadi.Duration(50 * time.Millisecond) }, nil, "/", 504, "queue_timeout", "waited 50ms", 1, 50 * time.Millisecond},
		{"takes too long", func(s *wadi.RouteRevision) { s.Timeout.Request = wadi.Duration(50 * time.Millisecond) }, nil, "/", 504, "request_timeout", "longer than 50ms", 1, 50 * time.Millisecond},
		{"failed", func(s *wadi.RouteRevision) { s.Failed = "image not found" }, nil, "/", 503, "revision_failed", wadi.ReasonID(revision, "image not found"), 0, 0},
		{"unplaceable", nil, func(c *cluster) { c.wakeErr = fmt.Errorf("%w: no node fits", wadi.ErrUnplaceable) }, "/", 503, "unplaceable", "no node fits", 1, 0},
		{"diagnosis", func(s *wadi.RouteRevision) { s.Queue.Timeout = wadi.Duration(4 * time.Second) }, func(c *cluster) { c.diagnosis = "driver failure: no such image" }, "/", 503, "unplaceable", wadi.ReasonID(revision, "driver failure: no such image"), 1, time.Second},
		{"Nomad is away", func(s *wadi.RouteRevision) { s.Queue.Timeout = wadi.Duration(time.Second) }, func(c *cluster) {
			c.wakeErr = fmt.Errorf("wake: Get \"http://10.0.0.1:4646/v1/job\": %w", wadi.ErrUnavailable)
		}, "/", 503, "not_woken", "hello-00001 can't be woken: Nomad doesn't answer\n", 5, time.Second},
		{"not allowed to wake", func(s *wadi.RouteRevision) { s.Timeout.Request = wadi.Duration(time.Second) }, func(c *cluster) { c.wakeErr = wadi.ErrForbidden }, "/", 503, "not_woken", "may not", 5, time.Second},
		{"quiet at zero", func(s *wadi.RouteRevision) { s.Queue.Quiet = []string{"/healthz"} }, nil, "/healthz", 503, "at_zero", "does not wake", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set := settings()
				if tt.set != nil {
					tt.set(&set)
				}
				c := newClocked(t, routes(set, wadi.HTTP1), 20)
				defer c.end(t)
				if tt.do != nil {
					c.set(tt.do)
				}
				w := httptest.NewRecorder()
				c.act.ServeRevision(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, tt.path, nil), service, revision)
				wantRefusal(t, answer{w.Code, w.Body.String(), w.Header(), nil}, tt.status, tt.code, tt.text)
				if got, want := outcomesOf(c.act), fmt.Sprintf("map[%d:1]", tt.status); got != want && tt.code != "at_zero" || tt.code == "at_zero" && got != "map[]" {
					t.Errorf("counted as %s, want %s", got, want)
				}
				after := map[string]string{"queue_full": "1", "queue_timeout": "1", "unplaceable": "10", "not_woken": "10", "revision_failed": "10"}
				if got := w.Header().Get("Retry-After"); got != after[tt.code] {
					t.Errorf("Retry-After is %q, want %q", got, after[tt.code])
				}
				if took := time.Since(c.start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if n := len(c.wakeTimes()); n != tt.wakes {
					t.Errorf("%d wakes, want %d", n, tt.wakes)
				}
				if n := gauge(t, c.reg, "wadi_activator_waiting_requests"); n != 0 {
					t.Errorf("%v still wait", n)
				}
			})
		})
	}
}

// echo is an app that agrees to an upgrade, echoes, and says goodbye at the end.
func echo(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	_, _ = io.Copy(conn, rw)
	_, _ = io.WriteString(conn, "goodbye\n")
}

// upgrade asks for that on a connection.
func upgrade(t *testing.T, conn net.Conn) *bufio.Reader {
	t.Helper()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != 101 {
		t.Fatalf("got %v, %v", res, err)
	}
	return in
}

func TestUpgradeOutlastsTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := settings()
		set.Timeout.Request = wadi.Duration(200 * time.Millisecond)
		c := newClocked(t, routes(set, wadi.HTTP1), 20)
		defer c.end(t)
		c.dial = serveMemory(t, &backend{name: "alloc-1", app: echo}).Dial
		c.place(wadi.Endpoint{Revision: revision, Service: service, Instance: "alloc-1", Addr: "app:1"})
		conn, err := serveMemory(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c.act.ServeRevision(w, r, service, revision)
		})).Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		in := upgrade(t, conn)
		time.Sleep(2 * set.Timeout.Request.D())
		_, _ = io.WriteString(conn, "still here\n")
		if got, err := in.ReadString('\n'); got != "still here\n" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// A drain sends the app behind an upgraded connection a GoAway, and waits for the rest of
// its answer.
func TestDrain_GoAwayToUpgraded(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	b.app = echo
	g.place(b.ep)
	conn, err := net.Dial("tcp", g.srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := upgrade(t, conn)
	if err := g.act.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(in); string(got) != "goodbye\n" || err != nil {
		t.Errorf("the client got %q, %v", got, err)
	}
}

// serveMemory starts a server in the bubble.
func serveMemory(t *testing.T, h http.Handler) *proxytest.Listener {
	t.Helper()
	l := proxytest.Listen()
	srv := &http.Server{Handler: h}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-served
	})
	return l
}

// The reason of Nomad and its drivers is for callers in the mesh. Others get its kind, and
// the ID to find it by.
func TestRefusals_NomadsReasonStaysInTheMesh(t *testing.T) {
	const words = "task web: Driver Failure: Failed to pull `registry.internal:5000/team/secret:1`: /etc/docker/auth.json"
	const placement = "no node fits: constraint \"${meta.rack} = r7\" excludes 3 nodes"
	for name, tt := range map[string]struct {
		diagnosis, failed string
		kind              string
	}{
		"a task that fails":      {diagnosis: words, kind: "instance can't run: its task does not start, or has ended"},
		"no node for it":         {diagnosis: placement, kind: "instance can't run: no node has a place for it"},
		"a revision that failed": {failed: "0 of 1 instances were ready within 10m: " + words, kind: "revision hello-00001 has failed"},
	} {
		t.Run(name, func(t *testing.T) {
			set := settings()
			set.Failed, set.Queue.Timeout = tt.failed, wadi.Duration(2*time.Second)
			g := newRig(t, set)
			g.set(func(c *cluster) { c.diagnosis = tt.diagnosis })
			whole := tt.diagnosis + tt.failed
			for _, accept := range []string{"*/*", "application/json"} {
				r := g.request(t, http.MethodGet, "/", nil)
				r.Header.Set("Accept", accept)
				got := g.do(r)
				if !strings.Contains(got.body, tt.kind) || !strings.Contains(got.body, wadi.ReasonID(revision, whole)) {
					t.Errorf("outside: got %v, want its kind and ID", got)
				}
				for _, secret := range []string{"registry.internal", "team/secret", "/etc/docker", "Driver Failure", "meta.rack", "r7"} {
					if strings.Contains(fmt.Sprint(got.body, got.header), secret) {
						t.Errorf("outside: %q is in %v", secret, got)
					}
				}
			}
			g.srv.Config.Handler = g.act.MeshHandler(allowAll{})
			r := g.request(t, http.MethodGet, "/", nil)
			r.Header.Set(wadi.HeaderService, service)
			r.Header.Set(wadi.HeaderRevision, revision)
			if got := g.do(r); !strings.Contains(got.body, whole) {
				t.Errorf("in the mesh: got %v, want the whole", got)
			}
		})
	}
}
