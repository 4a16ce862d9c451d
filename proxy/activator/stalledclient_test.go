package activator_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/proxytest"
)

// An answer breaks off where the app's did, though its caller has more to send and does
// not: it is that end that it waits for.
func TestBrokenAnswerOfAStalledUpload(t *testing.T) {
	for _, protocol := range []wadi.Protocol{wadi.HTTP1, wadi.H2C} {
		for _, framing := range []string{"Content-Length: 5000\r\n\r\nbegin", "Transfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n"} {
			t.Run(string(protocol)+" "+framing, func(t *testing.T) {
				g := newRig(t, settings())
				g.act.SetRoutes(routes(settings(), protocol))
				b := newBackend(t, "alloc-1")
				b.app = func(w http.ResponseWriter, r *http.Request) {
					_ = http.NewResponseController(w).EnableFullDuplex()
					_, _ = io.ReadFull(r.Body, make([]byte, 5))
					_, _ = io.WriteString(w, "so far")
					_ = http.NewResponseController(w).Flush()
					if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
						_ = conn.Close()
					}
					panic(http.ErrAbortHandler)
				}
				g.place(b.ep)
				c, err := net.Dial("tcp", g.srv.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_ = c.SetReadDeadline(time.Now().Add(time.Minute))
				_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\n"+framing)
				got, err := io.ReadAll(bufio.NewReader(c))
				if err, ok := err.(net.Error); ok && err.Timeout() {
					t.Errorf("no end after %q", got)
				}
				if strings.HasSuffix(string(got), "\r\n0\r\n\r\n") {
					t.Errorf("%q is whole", got)
				}
			})
		}
	}
}

// A caller that does not read the end of an answer keeps its connection no longer than its
// request's deadline.
func TestAnswerThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := proxytest.Listen()
		defer serveOn(app, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(wadi.HeaderRevision, revision)
			w.Header().Set(wadi.HeaderInstance, "alloc-1")
			_, _ = io.WriteString(w, "short")
		}))()
		c := newClocked(t, routes(minute(), wadi.HTTP1), 20)
		defer c.end(t)
		c.dial = app.Dial
		c.place(wadi.Endpoint{Revision: revision, Service: service, Instance: "alloc-1", Addr: "192.0.2.1:1"})
		front := proxytest.Listen()
		defer serveOn(front, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c.act.ServeRevision(w, r, service, revision)
		}))()
		conn, err := front.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		limit := minute().Timeout.Request.D()
		time.Sleep(limit + time.Second)
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		b := make([]byte, 100)
		if n, err := conn.Read(b); !errors.Is(err, io.EOF) {
			t.Errorf("%q %v, want the end: nobody has read", b[:n], err)
		}
	})
}

// serveOn serves h until what it returns is called.
func serveOn(l net.Listener, h http.Handler) (stop func()) {
	srv := &http.Server{Handler: h}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(l)
	}()
	return func() {
		_ = srv.Close()
		<-served
	}
}
