package upstream_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/proxytest"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// front starts a server that forwards to the peer; failed gets its errors. Without
// failed there must be none.
func front(t *testing.T, cfg upstream.Config, failed func(http.ResponseWriter, *http.Request, *upstream.ForwardError)) string {
	t.Helper()
	if cfg.Dial == nil {
		cfg.Dial = proxytest.Dialer(cfg.Addr)
	}
	u := upstream.New(cfg)
	t.Cleanup(u.Close)
	return proxytest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		err := u.Forward(w, r)
		var fe *upstream.ForwardError
		switch {
		case err == nil:
		case errors.As(err, &fe) && failed != nil:
			failed(w, r, fe)
		default:
			t.Errorf("forward: %v", err)
			w.WriteHeader(http.StatusBadGateway)
		}
	})
}

// each runs f over HTTP/1.1 and over HTTP/2, toward a peer of the same protocol.
func each(t *testing.T, f func(t *testing.T, p wadi.Protocol, c *http.Client)) {
	t.Run("http1", func(t *testing.T) { f(t, wadi.HTTP1, proxytest.Client(t, false)) })
	t.Run("h2c", func(t *testing.T) { f(t, wadi.H2C, proxytest.Client(t, true)) })
}

func TestForward_KeepsWhatCame(t *testing.T) {
	type seen struct {
		Proto, Target, Host, Method, Body string
		Forwarded, For, Agent             []string
		Instance                          string
	}
	each(t, func(t *testing.T, p wadi.Protocol, c *http.Client) {
		got := make(chan seen, 1)
		app := proxytest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got <- seen{r.Proto, r.RequestURI, r.Host, r.Method, string(body), r.Header["Forwarded"],
				r.Header["X-Forwarded-For"], r.Header["User-Agent"], r.Header.Get(wadi.HeaderInstance)}
		})
		addr := front(t, upstream.Config{Addr: app, Protocol: p,
			Header: http.Header{wadi.HeaderInstance: {"alloc"}}}, nil)
		for _, target := range []string{"/a%2fb//c;d?x=1;2&y=%zz", "/a|b%7C", "/?", "//two?a;b"} {
			req, err := http.NewRequest(http.MethodPost, "http://"+addr, strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			req.URL.Opaque, req.URL.RawQuery, _ = strings.Cut(target, "?")
			req.URL.ForceQuery = target == "/?"
			if req.URL.Opaque == "//two" {
				req.URL.Opaque, req.URL.Path = "", "//two"
			}
			req.Host = "Hello.example.com:1"
			req.Header = http.Header{"Forwarded": {"for=a"}, "X-Forwarded-For": {"1.2.3.4", "5.6.7.8"},
				"User-Agent": {""}, wadi.HeaderInstance: {"forged"}}
			res, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Fatalf("%s: status %d", target, res.StatusCode)
			}
			want := seen{"HTTP/1.1", target, "Hello.example.com:1", "POST", "body", []string{"for=a"},
				[]string{"1.2.3.4", "5.6.7.8"}, nil, "alloc"}
			if p != wadi.HTTP1 {
				want.Proto = "HTTP/2.0"
			}
			if diff := cmp.Diff(want, <-got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", target, diff)
			}
		}
	})
}

// The parts of an answer arrive while the request is still being sent, and the
// other way round.
func TestForward_StreamsBothWays(t *testing.T) {
	each(t, func(t *testing.T, p wadi.Protocol, c *http.Client) {
		app := proxytest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			_ = rc.EnableFullDuplex()
			w.Header().Set("Trailer", "X-Sum")
			w.WriteHeader(http.StatusOK)
			_ = rc.Flush()
			lines := bufio.NewScanner(r.Body)
			n := 0
			for lines.Scan() {
				fmt.Fprintf(w, "echo %s\n", lines.Text())
				_ = rc.Flush()
				n++
			}
			w.Header().Set("X-Sum", fmt.Sprint(n))
			w.Header().Set(http.TrailerPrefix+"X-Late", "yes")
		})
		addr := front(t, upstream.Config{Addr: app, Protocol: p}, nil)
		body, send := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr, body)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answers := bufio.NewReader(res.Body)
		for i := range 5 {
			fmt.Fprintf(send, "%d\n", i)
			line, err := answers.ReadString('\n')
			if want := fmt.Sprintf("echo %d\n", i); err != nil || line != want {
				t.Fatalf("line %q, %v, want %q", line, err, want)
			}
		}
		send.Close()
		if _, err := io.Copy(io.Discard, answers); err != nil {
			t.Fatal(err)
		}
		if got := res.Trailer.Get("X-Sum") + res.Trailer.Get("X-Late"); got != "5yes" {
			t.Errorf("trailers %v", res.Trailer)
		}
	})
}

// An app that answers without reading the body: the answer arrives while the
// rest of the body is still to come, and the connection is not used again.
func TestForward_AnswerBeforeTheBodysEnd(t *testing.T) {
	app := proxytest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Connection", "close")
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	})
	addr := front(t, upstream.Config{Addr: app}, nil)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbegin")
	answers := bufio.NewReader(conn)
	res, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(res.Body); res.StatusCode != 413 || string(text) != "too large\n" || !res.Close {
		t.Errorf("%d %q, %v, close %v", res.StatusCode, text, err, res.Close)
	}
	io.WriteString(conn, strings.Repeat("x", 95)+"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if rest, _ := io.ReadAll(answers); len(rest) > 0 {
		t.Errorf("the connection was used again: %q", rest)
	}
}

func TestForward_InformationalAnswersAndHead(t *testing.T) {
	app := proxytest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Content-Length", "1234")
		w.WriteHeader(http.StatusOK)
	})
	addr := front(t, upstream.Config{Addr: app}, nil)
	var hints atomic.Int64
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { hints.Store(int64(code)); return nil },
	})
	req, _ := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+addr, nil)
	res, err := proxytest.Client(t, false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if hints.Load() != http.StatusEarlyHints || res.ContentLength != 1234 {
		t.Errorf("hint %d, length %d", hints.Load(), res.ContentLength)
	}
}

func TestForward_Upgrade(t *testing.T) {
	app := proxytest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := rw.ReadString('\n')
		io.WriteString(conn, "echo "+line)
	})
	addr := front(t, upstream.Config{Addr: app}, nil)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello\n")
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 101 ") || !strings.HasSuffix(string(got), "echo hello\n") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestForward_BrokenAnswerBreaksTheStream(t *testing.T) {
	each(t, func(t *testing.T, p wadi.Protocol, c *http.Client) {
		app := proxytest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		addr := front(t, upstream.Config{Addr: app, Protocol: p}, nil)
		res, err := c.Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("read %q to its end, want a broken stream", body)
		}
	})
}

func TestForward_Errors(t *testing.T) {
	misdirected := proxytest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusMisdirectedRequest)
	})
	own := proxytest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(wadi.HeaderInstance, "alloc")
		w.WriteHeader(http.StatusMisdirectedRequest)
	})
	closing := proxytest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	})
	gone := proxytest.Serve(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	badHandshake := func(context.Context, net.Conn) error { return io.ErrUnexpectedEOF }
	meant := http.Header{wadi.HeaderInstance: {"alloc"}}

	for _, tt := range []struct {
		name         string
		cfg          upstream.Config
		method, body string
		want         upstream.ForwardError
		retryable    bool
		status       int // If an answer is passed on.
	}{
		{"refused dial", upstream.Config{Addr: l.Addr().String()}, "POST", "x", upstream.ForwardError{Refused: true}, true, 0},
		{"refused dial, h2c", upstream.Config{Addr: l.Addr().String(), Protocol: wadi.H2C}, "POST", "x", upstream.ForwardError{Refused: true}, true, 0},
		{"failed handshake", upstream.Config{Addr: gone, Handshake: badHandshake}, "POST", "x", upstream.ForwardError{Refused: true}, true, 0},
		{"421", upstream.Config{Addr: misdirected, Header: meant}, "POST", "", upstream.ForwardError{Misdirected: true}, true, 0},
		{"421, h2c", upstream.Config{Addr: misdirected, Header: meant, Protocol: wadi.GRPC}, "POST", "", upstream.ForwardError{Misdirected: true}, true, 0},
		{"421, body read", upstream.Config{Addr: misdirected, Header: meant}, "POST", "x", upstream.ForwardError{Misdirected: true, BodyRead: true}, false, 0},
		{"421 without instance", upstream.Config{Addr: misdirected}, "POST", "", upstream.ForwardError{}, false, 421},
		{"421 of the app itself", upstream.Config{Addr: own, Header: meant}, "POST", "", upstream.ForwardError{}, false, 421},
		{"broken, idempotent", upstream.Config{Addr: closing}, "GET", "", upstream.ForwardError{}, true, 0},
		{"broken, not idempotent", upstream.Config{Addr: closing}, "POST", "", upstream.ForwardError{}, false, 0},
		{"broken, with body", upstream.Config{Addr: closing}, "PUT", "x", upstream.ForwardError{BodyRead: true}, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got *upstream.ForwardError
			var retryable bool
			addr := front(t, tt.cfg, func(w http.ResponseWriter, r *http.Request, e *upstream.ForwardError) {
				got, retryable = e, e.Retryable(r)
				w.WriteHeader(599)
			})
			req, _ := http.NewRequest(tt.method, "http://"+addr, strings.NewReader(tt.body))
			res, err := proxytest.Client(t, false).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if tt.status != 0 {
				if got != nil || res.StatusCode != tt.status || res.Header.Get(wadi.HeaderInstance) != "" {
					t.Errorf("status %d %v, error %v, want %d passed on", res.StatusCode, res.Header, got, tt.status)
				}
				return
			}
			if got == nil || got.Err == nil {
				t.Fatalf("no error, status %d", res.StatusCode)
			}
			e := *got
			e.Err = nil
			if e != tt.want || retryable != tt.retryable {
				t.Errorf("%+v (%v), retryable %v, want %+v, %v", e, got.Err, retryable, tt.want, tt.retryable)
			}
		})
	}
}

// A connection that was used before breaks at the second request, and dialling
// again is refused: the peer may have seen the request all the same.
func TestForward_BrokenThenRefused(t *testing.T) {
	addr := proxytest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/break" {
			panic(http.ErrAbortHandler)
		}
	})
	dials := 0
	up := upstream.New(upstream.Config{Addr: addr, Dial: func(ctx context.Context) (net.Conn, error) {
		if dials++; dials > 1 {
			return nil, syscall.ECONNREFUSED
		}
		return proxytest.Dialer(addr)(ctx)
	}})
	defer up.Close()
	if err := up.Forward(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)); err != nil {
		t.Fatal(err)
	}
	err := up.Forward(httptest.NewRecorder(), httptest.NewRequest("GET", "/break", nil))
	var failed *upstream.ForwardError
	if !errors.As(err, &failed) || !errors.Is(err, syscall.ECONNREFUSED) || failed.Refused {
		t.Errorf("got %+v after %d dials, want the second one refused, but not the request", err, dials)
	}
}

func TestForward_OneHandshakePerConnection(t *testing.T) {
	app := proxytest.Serve(t, func(w http.ResponseWriter, r *http.Request) {})
	var handshakes atomic.Int64
	addr := front(t, upstream.Config{Addr: app, Handshake: func(context.Context, net.Conn) error {
		handshakes.Add(1)
		return nil
	}}, nil)
	c := proxytest.Client(t, false)
	for range 5 {
		res, err := c.Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	if got := handshakes.Load(); got != 1 {
		t.Errorf("%d handshakes, want 1", got)
	}
}

func TestForward_CallerGone(t *testing.T) {
	entered := make(chan struct{})
	left := make(chan struct{})
	app := proxytest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(left)
	})
	addr := front(t, upstream.Config{Addr: app}, func(_ http.ResponseWriter, r *http.Request, e *upstream.ForwardError) {
		if e.Retryable(r) {
			t.Error("a request that its caller gave up is not to be retried")
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr, nil)
	if _, err := proxytest.Client(t, false).Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("err=%v", err)
	}
	select {
	case <-left: // The app notices it.
	case <-time.After(time.Minute):
		t.Error("the app does not hear of it")
	}
}

// An answer of a header alone, as gRPC refuses calls, stays one: it is not flushed
// before its end is known, or the server would send an empty part to end it.
func TestForward_TrailersOnly(t *testing.T) {
	addr := proxytest.Serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Grpc-Status", "12") })
	u := upstream.New(upstream.Config{Addr: addr, Protocol: wadi.GRPC, Dial: proxytest.Dialer(addr)})
	t.Cleanup(u.Close)
	for i := range 1000 {
		w, err := do(u, http.MethodPost, strings.NewReader("call"))
		if err != nil || w.Flushed || w.Header().Get("Grpc-Status") != "12" {
			t.Fatalf("answer %d: got header %v, flushed %t, %v; want it not flushed", i, w.Header(), w.Flushed, err)
		}
	}
}

// A caller can't have dropped, by naming it in Connection, what others say of it.
func TestForward_ConnectionNamesNoForwardingHeader(t *testing.T) {
	for _, protocol := range []wadi.Protocol{wadi.HTTP1, wadi.H2C} {
		var got http.Header
		app := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }))
		app.Config.Protocols = new(http.Protocols)
		app.Config.Protocols.SetHTTP1(true)
		app.Config.Protocols.SetUnencryptedHTTP2(true)
		app.Start()
		defer app.Close()
		addr := front(t, upstream.Config{Addr: app.Listener.Addr().String(), Protocol: protocol}, nil)
		names := []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Client-Cert", "X-Real-Ip", "Client-Cert"}
		request := "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Drop, " + strings.Join(names, ", ") + "\r\nX-Drop: 1\r\n"
		for _, name := range names {
			request += name + ": 1.2.3.4\r\n"
		}
		roundTrip(t, addr, request+"\r\n")
		for _, name := range names {
			if got.Get(name) != "1.2.3.4" {
				t.Errorf("%s: the app did not see %s", protocol, name)
			}
		}
		if got.Get("X-Drop") != "" {
			t.Errorf("%s: the app saw what was to be dropped", protocol)
		}
	}
}
