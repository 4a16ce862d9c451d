package upstream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/proxytest"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// tlsServer starts a server that speaks HTTP/2 over TLS, and returns how to dial it.
func tlsServer(t *testing.T, conf *http.HTTP2Config, h http.HandlerFunc) func(context.Context) (net.Conn, error) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.Config.HTTP2 = conf
	s.Config.MaxHeaderBytes = 8 << 10
	s.Config.ErrorLog = proxytest.NoPanicsLog(t)
	s.StartTLS()
	t.Cleanup(s.Close)
	client := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	client.NextProtos, client.ServerName = []string{"h2"}, "example.com"
	return func(ctx context.Context) (net.Conn, error) {
		return (&tls.Dialer{Config: client}).DialContext(ctx, "tcp", s.Listener.Addr().String())
	}
}

// do forwards a request with a body, without a server in front.
func do(u *upstream.Upstream, method string, body io.Reader) (*httptest.ResponseRecorder, *upstream.ForwardError) {
	w := httptest.NewRecorder()
	var fe *upstream.ForwardError
	errors.As(u.Forward(w, httptest.NewRequest(method, "/", body)), &fe)
	return w, fe
}

func open(t *testing.T, cfg upstream.Config) *upstream.Upstream {
	cfg.Addr, cfg.Protocol = "peer", wadi.GRPC
	u := upstream.New(cfg)
	t.Cleanup(u.Close)
	return u
}

// who asks over a new connection which instance answers.
func who(ctx context.Context, rt http.RoundTripper) error {
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://peer/who", nil)
	res, err := rt.RoundTrip(r)
	if err == nil {
		err = res.Body.Close()
	}
	return err
}

// All requests of one moment share a connection, whose first request is the one
// that asks which instance answers.
func TestHTTP2_VerifiedFirst(t *testing.T) {
	var mu sync.Mutex
	seen := map[string][]string{} // By connection.
	dial := tlsServer(t, nil, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen[r.RemoteAddr] = append(seen[r.RemoteAddr], r.URL.Path)
	})
	u := open(t, upstream.Config{Dial: dial, Verify: who})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if w, err := do(u, http.MethodPost, strings.NewReader("x")); err != nil || w.Code != 200 {
				t.Errorf("got %d, %v", w.Code, err)
			}
		})
	}
	all.Wait()
	if len(seen) != 1 {
		t.Errorf("got %d connections, want one", len(seen))
	}
	for _, paths := range seen {
		if len(paths) != 51 || paths[0] != "/who" {
			t.Errorf("got %d requests, first %s; want 51, first /who", len(paths), paths[0])
		}
	}
}

func TestHTTP2_NotVerified(t *testing.T) {
	var asked atomic.Int64
	dial := tlsServer(t, nil, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/who" {
			asked.Add(1)
		}
	})
	closed := make(chan struct{})
	u := open(t, upstream.Config{
		Dial: func(ctx context.Context) (net.Conn, error) {
			c, err := dial(ctx)
			return closing{c, sync.OnceFunc(func() { close(closed) })}, err
		},
		Verify: func(ctx context.Context, rt http.RoundTripper) error {
			return errors.Join(who(ctx, rt), io.ErrUnexpectedEOF)
		},
	})
	body := strings.NewReader("x")
	_, err := do(u, http.MethodPost, body)
	if err == nil || !err.Refused || !errors.Is(err, io.ErrUnexpectedEOF) || body.Len() != 1 || asked.Load() != 0 {
		t.Errorf("got %+v, %d requests, want the request refused, and whole", err, asked.Load())
	}
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Error("the connection stays open")
	}
}

// closing notes when it is closed.
type closing struct {
	net.Conn
	told func()
}

func (c closing) Close() error { c.told(); return c.Conn.Close() }

// The peer takes only so many requests at once on a connection: there are more
// connections then, each verified, and all of them are used again.
func TestHTTP2_StreamsOfAPeer(t *testing.T) {
	var inside, probes atomic.Int64
	var let atomic.Pointer[chan struct{}]
	dial := tlsServer(t, &http.HTTP2Config{MaxConcurrentStreams: 2}, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/who" {
			probes.Add(1)
			return
		}
		inside.Add(1)
		<-*let.Load()
	})
	u := open(t, upstream.Config{Dial: dial, Verify: who})
	for round := range 2 {
		opened := make(chan struct{})
		let.Store(&opened)
		inside.Store(0)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if w, err := do(u, http.MethodPost, strings.NewReader("x")); err != nil || w.Code != 200 {
					t.Errorf("got %d, %v", w.Code, err)
				}
			})
		}
		late := time.After(time.Minute)
		for inside.Load() < 20 {
			select {
			case <-late:
				t.Fatalf("%d requests are inside, want all 20", inside.Load())
			case <-time.After(time.Millisecond):
			}
		}
		close(opened)
		all.Wait()
		// What just ended may still hold its place when the second round begins.
		if got := probes.Load(); round == 0 && got != 10 || got >= 20 {
			t.Errorf("round %d: got %d connections, want 10 of two requests each, used again", round, got)
		}
	}
}

// framePeer accepts connections of HTTP/2 and has them served frame by frame. Serve
// is called with what followed the preface; the connection ends with it.
func framePeer(t *testing.T, serve func(n int, f *http2.Framer, c net.Conn)) func(context.Context) (net.Conn, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				preface := make([]byte, len(http2.ClientPreface))
				if _, err := io.ReadFull(c, preface); err != nil {
					return
				}
				f := http2.NewFramer(c, c)
				_ = f.WriteSettings()
				serve(n, f, c)
			}()
		}
	}()
	return proxytest.Dialer(l.Addr().String())
}

// await reads up to a frame of a type, and returns its stream.
func await(f *http2.Framer, kind http2.FrameType) (stream uint32, ok bool) {
	for {
		got, err := f.ReadFrame()
		if err != nil {
			return 0, false
		}
		if got.Header().Type == kind {
			return got.Header().StreamID, true
		}
	}
}

// ok200 are the HPACK bytes of ":status: 200".
var ok200 = []byte{0x88}

func answer(f *http2.Framer, stream uint32) {
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: ok200, EndHeaders: true, EndStream: true})
}

// The peer says of a request that it has not looked at it: it is sent once more,
// whatever its method, with its whole body; not if some of that is gone.
func TestHTTP2_Unseen(t *testing.T) {
	for name, refuse := range map[string]func(f *http2.Framer, stream uint32){
		"GOAWAY":         func(f *http2.Framer, stream uint32) { _ = f.WriteGoAway(stream-1, http2.ErrCodeNo, nil) },
		"REFUSED_STREAM": func(f *http2.Framer, stream uint32) { _ = f.WriteRSTStream(stream, http2.ErrCodeRefusedStream) },
	} {
		t.Run(name, func(t *testing.T) {
			var bodies, requests atomic.Int64
			dial := framePeer(t, func(_ int, f *http2.Framer, c net.Conn) {
				for {
					stream, ok := await(f, http2.FrameHeaders)
					if !ok {
						return
					}
					if n := requests.Add(1); n%2 == 1 {
						refuse(f, stream)
						continue
					}
					if _, ok := await(f, http2.FrameData); ok {
						bodies.Add(1)
						answer(f, stream)
					}
				}
			})
			u := open(t, upstream.Config{Dial: dial})
			in, out := io.Pipe() // Nothing to read yet: the peer answers before.
			go func() {
				for requests.Load() < 2 {
					time.Sleep(time.Millisecond)
				}
				_, _ = out.Write([]byte("x"))
				_ = out.Close()
			}()
			w, err := do(u, http.MethodPost, in)
			if err != nil || w.Code != 200 || requests.Load() != 2 || bodies.Load() != 1 {
				t.Errorf("got %d, %v after %d requests, want an answer to the second", w.Code, err, requests.Load())
			}
		})
		t.Run(name+" after some of the body", func(t *testing.T) {
			dial := framePeer(t, func(_ int, f *http2.Framer, c net.Conn) {
				if stream, ok := await(f, http2.FrameData); ok {
					refuse(f, stream)
					await(f, http2.FrameGoAway) // It goes first.
				}
			})
			_, err := do(open(t, upstream.Config{Dial: dial}), http.MethodPost, strings.NewReader("x"))
			if err == nil || !err.Refused || !err.BodyRead || err.Retryable(httptest.NewRequest("POST", "/", nil)) {
				t.Errorf("got %+v, want it refused with the body read", err)
			}
		})
		t.Run(name+" always", func(t *testing.T) {
			var requests atomic.Int64
			dial := framePeer(t, func(_ int, f *http2.Framer, c net.Conn) {
				for {
					stream, ok := await(f, http2.FrameHeaders)
					if !ok {
						return
					}
					requests.Add(1)
					refuse(f, stream)
				}
			})
			_, err := do(open(t, upstream.Config{Dial: dial}), http.MethodPost, nil)
			if err == nil || !err.Refused || requests.Load() != 3 || !err.Retryable(httptest.NewRequest("POST", "/", nil)) {
				t.Errorf("got %+v after %d requests, want it refused after three", err, requests.Load())
			}
		})
	}
}

// After a GOAWAY a connection ends what it has, and what comes next goes elsewhere.
func TestHTTP2_Goodbye(t *testing.T) {
	said, next := make(chan struct{}), make(chan struct{})
	dial := framePeer(t, func(n int, f *http2.Framer, c net.Conn) {
		stream, _ := await(f, http2.FrameHeaders)
		if n == 1 {
			_ = f.WriteGoAway(stream, http2.ErrCodeNo, nil)
			_ = f.WritePing(false, [8]byte{})
			await(f, http2.FramePing) // Now it has taken note.
			close(said)
			<-next
		}
		answer(f, stream)
		await(f, http2.FrameGoAway) // It closes first.
	})
	u := open(t, upstream.Config{Dial: dial})
	first := make(chan *upstream.ForwardError, 1)
	go func() { _, err := do(u, http.MethodPost, nil); first <- err }()
	<-said
	if _, err := do(u, http.MethodPost, nil); err != nil {
		t.Errorf("the next one: %v", err)
	}
	close(next)
	if err := <-first; err != nil {
		t.Errorf("the first one: %v", err)
	}
}

// The peer breaks the connection while nothing comes from the caller: that is reported
// at once, and the request counts as seen.
func TestHTTP2_BrokenWhileTheCallerIsSilent(t *testing.T) {
	dial := framePeer(t, func(_ int, f *http2.Framer, c net.Conn) {
		await(f, http2.FrameData) // The first part of the body.
	})
	in, out := io.Pipe()
	defer out.Close()
	go func() { _, _ = out.Write([]byte("first")) }()
	done := make(chan *upstream.ForwardError, 1)
	go func() {
		_, err := do(open(t, upstream.Config{Dial: dial}), http.MethodPost, in)
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || err.Refused || !err.BodyRead {
			t.Errorf("got %+v, want it failed and seen", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits for the caller")
	}
}

// Who opens the connection for all leaves meanwhile: that is no affair of the others.
func TestHTTP2_OpenerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := proxytest.ServeMemory(t, func(http.ResponseWriter, *http.Request) {})
		dials := 0
		u := open(t, upstream.Config{Dial: func(ctx context.Context) (net.Conn, error) {
			if dials++; dials == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return peer.Dial(ctx)
		}})
		ask := func(ctx context.Context) <-chan error {
			done := make(chan error, 1)
			go func() {
				done <- u.Forward(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil).WithContext(ctx))
			}()
			synctest.Wait()
			return done
		}
		ctx, leave := context.WithCancel(t.Context())
		first, second := ask(ctx), ask(t.Context())
		leave()
		if err := <-first; err == nil {
			t.Error("the first one got an answer")
		}
		if err := <-second; err != nil || dials != 2 {
			t.Errorf("the second one: %v after %d dials", err, dials)
		}
	})
}

// A request that HTTP/2 can't carry to this peer is not the peer's fault.
func TestHTTP2_Unsendable(t *testing.T) {
	dial := tlsServer(t, nil, func(http.ResponseWriter, *http.Request) {})
	u := open(t, upstream.Config{Dial: dial})
	if w, err := do(u, "GET", nil); err != nil || w.Code != 200 { // Now the peer's settings are known.
		t.Fatalf("got %d, %v", w.Code, err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Big", strings.Repeat("x", 20<<10))
	var err *upstream.ForwardError
	errors.As(u.Forward(httptest.NewRecorder(), r), &err)
	if err == nil || !err.Unsendable || err.Refused || err.Retryable(r) {
		t.Errorf("got %+v, want it unsendable", err)
	}
}

// Close ends idle connections at once, and busy ones after their requests.
func TestHTTP2_Close(t *testing.T) {
	let, inside := make(chan struct{}), make(chan struct{})
	dial := tlsServer(t, nil, func(w http.ResponseWriter, r *http.Request) {
		close(inside)
		<-let
	})
	closed := make(chan struct{})
	u := open(t, upstream.Config{Dial: func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		return closing{c, sync.OnceFunc(func() { close(closed) })}, err
	}})
	done := make(chan error, 1)
	go func() {
		w, err := do(u, "GET", nil)
		if err == nil && w.Code == 200 {
			done <- nil
			return
		}
		done <- fmt.Errorf("got %d, %v", w.Code, err)
	}()
	<-inside
	u.Close()
	select {
	case <-closed:
		t.Error("closed under a request")
	default:
	}
	close(let)
	if err := <-done; err != nil {
		t.Error(err)
	}
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Error("it stays open after its request")
	}
}
