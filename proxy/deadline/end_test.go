package deadline_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/proxytest"
)

// unreadWays are the ways in which a body stays unread.
var unreadWays = map[string]http.HandlerFunc{
	"our own answer": func(w http.ResponseWriter, r *http.Request) {
		deadline.EndUnread(w, r)
		http.Error(w, "no", http.StatusMisdirectedRequest)
	},
	"another's answer": func(w http.ResponseWriter, r *http.Request) {
		withinTime(long, func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor == 1 {
				w.Header().Set("Connection", "close")
			}
			_ = http.NewResponseController(w).EnableFullDuplex()
			http.Error(w, "no", http.StatusMisdirectedRequest)
		})(w, r)
	},
	breaksOff: func(w http.ResponseWriter, r *http.Request) {
		withinTime(long, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			io.WriteString(w, "a")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})(w, r)
	},
	"an answer while the body is read": func(w http.ResponseWriter, r *http.Request) {
		withinTime(long, func(w http.ResponseWriter, r *http.Request) {
			beginReading(r)
			if r.ProtoMajor == 1 {
				w.Header().Set("Connection", "close")
			}
			_ = http.NewResponseController(w).EnableFullDuplex()
			http.Error(w, "no", http.StatusMisdirectedRequest)
		})(w, r)
	},
	timesOut: func(w http.ResponseWriter, r *http.Request) {
		withinTime(wadi.Duration(time.Second), func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })(w, r)
	},
	breaksOffReading: func(w http.ResponseWriter, r *http.Request) {
		withinTime(long, func(w http.ResponseWriter, r *http.Request) {
			beginReading(r)
			_ = http.NewResponseController(w).EnableFullDuplex()
			io.WriteString(w, "a")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})(w, r)
	},
}

const (
	breaksOff        = "an answer that breaks off"
	timesOut         = "a timeout"
	breaksOffReading = "an answer that breaks off while the body is read"
)

// beginReading reads r's body to its end in a goroutine, as a forwarder does. It waits
// for more when this returns.
func beginReading(r *http.Request) {
	go func() { _, _ = io.Copy(io.Discard, r.Body) }() // It ends with the request.
	synctest.Wait()
}

// withinTime bounds h by a keeper of its own, for its timer is of one bubble only.
func withinTime(limit wadi.Duration, h http.HandlerFunc) http.HandlerFunc {
	return within(h, wadi.Timeouts{Request: limit}).ServeHTTP
}

// A body that is not read and never comes holds no connection, however it is
// announced.
func TestEndUnread_NeverComes(t *testing.T) {
	for name, h := range unreadWays {
		for _, send := range []string{
			"Content-Length: 5\r\n\r\nab",
			"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
			"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
			"Content-Length: 100000000\r\n\r\nab",
		} {
			t.Run(name+" "+send, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					conn, err := proxytest.ServeMemory(t, h).Dial(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
					if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\n"+send); err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(conn)
					if err != nil {
						t.Errorf("%v after %q, want the end", err, got)
					}
					if !strings.HasPrefix(string(got), "HTTP/1.1 ") {
						t.Errorf("got %q, want an answer", got)
					}
				})
			})
		}
	}
}

// A body that trickles in holds no connection either: the limit is for the whole body.
func TestEndUnread_Trickles(t *testing.T) {
	for name, h := range unreadWays {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, err := proxytest.ServeMemory(t, h).Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				var sending sync.WaitGroup
				defer sending.Wait()
				sending.Go(func() {
					for _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n"); err == nil; _, err = io.WriteString(conn, "a") {
						time.Sleep(100 * time.Millisecond)
					}
				})
				defer conn.Close()
				_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
				if got, err := io.ReadAll(conn); err != nil {
					t.Errorf("%v after %q, want the end", err, got)
				}
			})
		})
	}
}

// After a body that comes in time the connection stays open.
func TestEndUnread_Comes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, err := proxytest.ServeMemory(t, unreadWays["our own answer"]).Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		answers := bufio.NewReader(conn)
		for range 3 {
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
			time.Sleep(300 * time.Millisecond)
			io.WriteString(conn, "cde")
			res, err := http.ReadResponse(answers, nil)
			if err != nil || res.StatusCode != http.StatusMisdirectedRequest || res.Close {
				t.Fatalf("%+v, %v, want an answer and another request", res, err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			time.Sleep(time.Minute) // What bounded the one bounds no other.
		}
	})
}

// A caller that does not read its answers holds no connection for longer than its
// request might have taken, or a moment.
func TestEndUnread_NotRead(t *testing.T) {
	for name, h := range unreadWays {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, err := proxytest.ServeMemory(t, h).Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				time.Sleep(long.D() + time.Second)
				_ = conn.SetDeadline(time.Now().Add(time.Second))
				b := make([]byte, 100)
				if n, err := conn.Read(b); !errors.Is(err, io.EOF) {
					t.Errorf("%q %v, want the end: nobody has read", b[:n], err)
				}
			})
		})
	}
}

// Of HTTP/2 the stream ends, and the connection stays.
func TestEndUnread_HTTP2(t *testing.T) {
	for name, h := range unreadWays {
		if name == breaksOff || name == breaksOffReading || name == timesOut {
			continue
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, dials := proxytest.ServeMemory(t, h), 0
				tr := &http.Transport{Protocols: proxytest.Protocols(false, true)}
				tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { dials++; return l.Dial(ctx) }
				defer tr.CloseIdleConnections()
				for range 3 {
					body, rest := io.Pipe()
					res, err := (&http.Client{Transport: tr}).Post("http://front", "", body)
					if err != nil || res.StatusCode != http.StatusMisdirectedRequest {
						t.Fatalf("%+v, %v, want an answer", res, err)
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_, _ = res.Body.Close(), rest.Close()
				}
				if dials != 1 {
					t.Errorf("%d connections, want one", dials)
				}
			})
		})
	}
}
