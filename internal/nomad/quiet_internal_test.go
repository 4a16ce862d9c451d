package nomad

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/nomad/api"
)

// pipes is an in-memory network for a synctest bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// quiet is a Nomad without any change: one job with one instance, and a stream of
// heartbeats like Nomad's: the first at once, then one every 30 s.
type quiet struct {
	mu     sync.Mutex
	opened int
	mute   chan struct{} // Closed: no more heartbeats.
	away   bool          // No answers.
}

func (q *quiet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q.mu.Lock()
	away, mute := q.away, q.mute
	if r.URL.Path == "/v1/event/stream" {
		q.opened++
	}
	q.mu.Unlock()
	w.Header().Set("X-Nomad-Index", "7")
	switch {
	case away:
		http.Error(w, "No cluster leader", http.StatusInternalServerError)
	case r.URL.Path == "/v1/event/stream":
		tick := time.NewTicker(30 * time.Second)
		defer tick.Stop()
		for {
			_, _ = fmt.Fprintln(w, "{}")
			w.(http.Flusher).Flush()
			select {
			case <-tick.C:
			case <-mute:
				<-r.Context().Done()
				return
			case <-r.Context().Done():
				return
			}
		}
	case r.URL.Path == "/v1/namespaces":
		_, _ = fmt.Fprint(w, `[{"Name":"default"}]`)
	case r.URL.Path == "/v1/jobs":
		_, _ = fmt.Fprint(w, `[{"ID":"hello-00001","Namespace":"default","Meta":{"wadi_service":"hello"}}]`)
	case r.URL.Path == "/v1/allocations":
		_, _ = fmt.Fprint(w, `[{"ID":"a","Namespace":"default","JobID":"hello-00001","DesiredStatus":"run","ClientStatus":"running","ModifyIndex":7}]`)
	case r.URL.Path == "/v1/evaluations":
		_, _ = fmt.Fprint(w, `[]`)
	default:
		_, _ = fmt.Fprint(w, `{"ID":"hello-00001","Namespace":"default","JobModifyIndex":1,"Meta":{"wadi_service":"hello"},"TaskGroups":[{"Name":"instance","Count":1}]}`)
	}
}

func (q *quiet) set(change func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	change()
}

func clientOf(conn *connection) *Client {
	c := &Client{}
	c.current.Store(conn)
	return c
}

// bubble runs test beside a watcher of a quiet Nomad, with a fake clock.
func bubble(t *testing.T, test func(t *testing.T, q *quiet, w *Watcher)) {
	synctest.Test(t, func(t *testing.T) {
		network := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		q := &quiet{mute: make(chan struct{})}
		server := &http.Server{Handler: q}
		served := make(chan error)
		go func() { served <- server.Serve(network) }()
		transport := &http.Transport{DialContext: network.dial}
		a, err := api.NewClient(&api.Config{Address: "http://nomad", HttpClient: &http.Client{Transport: transport}})
		if err != nil {
			t.Fatal(err)
		}
		w := &Watcher{Client: clientOf(&connection{api: a, streams: a, close: transport.CloseIdleConnections})}
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error)
		go func() { ran <- w.Run(ctx) }()
		defer func() {
			cancel()
			if err := errors.Join(<-ran, server.Close()); err != nil {
				t.Error(err)
			}
			w.Client.Close()
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		}()
		<-w.Synced()
		test(t, q, w)
	})
}

// A silent stream with heartbeats is good: one stream is enough for a quiet hour.
func TestWatch_QuietCluster(t *testing.T) {
	bubble(t, func(t *testing.T, q *quiet, w *Watcher) {
		for range 3600 {
			time.Sleep(time.Second)
			if !w.Connected("") || !w.Usable("") {
				t.Fatalf("away after %v without news", time.Since(w.LastContact()))
			}
		}
		if q.set(func() {}); q.opened != 1 {
			t.Errorf("%d streams were opened, want 1", q.opened)
		}
	})
}

// A stream without heartbeats is given up after three are missing. The state can be acted
// on at every moment until the next stream is up.
func TestWatch_Reconnect(t *testing.T) {
	bubble(t, func(t *testing.T, q *quiet, w *Watcher) {
		opened := func() (n int) { q.set(func() { n = q.opened }); return n }
		q.set(func() { close(q.mute); q.mute = make(chan struct{}) })
		began := time.Now()
		for opened() == 1 {
			time.Sleep(10 * time.Millisecond)
			if eps, _ := w.Endpoints("", "hello-00001"); !w.Usable("") || len(eps) != 1 {
				t.Fatalf("after %v: usable %t, %d instances", time.Since(began), w.Usable(""), len(eps))
			}
		}
		if took := time.Since(began); took < 60*time.Second || took > 91*time.Second {
			t.Errorf("the stream was given up after %v, want 90 s after its last heartbeat", took)
		}
		synctest.Wait()
		if !w.Connected("") {
			t.Error("the second stream is not taken")
		}
	})
}

// While Nomad is unavailable the state is acted on for Grace only, but stays readable for
// ever; it is good again after the next full read.
func TestWatch_Away(t *testing.T) {
	bubble(t, func(t *testing.T, q *quiet, w *Watcher) {
		q.set(func() { q.away = true; close(q.mute); q.mute = make(chan struct{}) })
		for w.Connected("") {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(9 * time.Second)
		if !w.Usable("") {
			t.Error("not usable 9 s after the stream broke")
		}
		time.Sleep(2 * time.Second)
		if eps, _ := w.Endpoints("", "hello-00001"); w.Usable("") || len(eps) != 1 {
			t.Errorf("11 s after the stream broke: usable %t, %d instances; want false, 1", w.Usable(""), len(eps))
		}
		q.set(func() { q.away = false })
		time.Sleep(10 * time.Second) // Longer than any pause between attempts.
		if !w.Connected("") || !w.Usable("") {
			t.Error("Nomad is back, and the watcher is not")
		}
	})
}
