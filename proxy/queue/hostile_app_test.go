package queue_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rawApp is an app that writes raw bytes: answer is called with each request after its body
// was read, and early before that.
func rawApp(t *testing.T, answer func(c net.Conn, r *http.Request) (more bool), early ...func(net.Conn, *http.Request) (more bool)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				for in := bufio.NewReader(c); ; {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if len(early) > 0 && !early[0](c, r) {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					if !answer(c, r) {
						return
					}
				}
			})
		}
	})
	return l.Addr().String()
}

// An app sends a body where its header, the status or the method allow none, at once or
// later, and the body looks like an answer: no caller gets another caller's answer.
func TestTraffic_AnswersAreTheCallersOwn(t *testing.T) {
	const stray = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-For: stray\r\n\r\nstolen"
	length := fmt.Sprintf("Content-Length: %d\r\n", len(stray))
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(stray), stray)
	for _, tt := range []struct {
		name, method, head, tail string
		status                   int // 0: no answer of the app may come.
	}{
		{"204 with a length", "GET", "204 No Content\r\n" + length, stray, 204},
		{"204 in chunks", "POST", "204 No Content\r\nTransfer-Encoding: chunked\r\n", chunk, 204},
		{"204 with a bare body", "DELETE", "204 No Content\r\n", stray, 204},
		{"205 with a length", "POST", "205 Reset Content\r\n" + length, stray, 205},
		{"205 in chunks", "POST", "205 Reset Content\r\nTransfer-Encoding: chunked\r\n", chunk, 205},
		{"205 with a body beyond", "POST", "205 Reset Content\r\nContent-Length: 0\r\n", stray, 205},
		{"304 with a length", "GET", "304 Not Modified\r\n" + length, stray, 304},
		{"304 in chunks", "GET", "304 Not Modified\r\nTransfer-Encoding: chunked\r\n", chunk, 304},
		{"304 with a bare body", "GET", "304 Not Modified\r\n", stray, 304},
		{"HEAD with a length", "HEAD", "200 OK\r\n" + length, stray, 200},
		{"HEAD in chunks", "HEAD", "200 OK\r\nTransfer-Encoding: chunked\r\n", chunk, 200},
		{"HEAD with a bare body", "HEAD", "200 OK\r\nContent-Length: 0\r\n", stray, 200},
		{"1xx with a length", "GET", "103 Early Hints\r\n" + length, stray, 0},
		{"1xx in chunks", "GET", "103 Early Hints\r\nTransfer-Encoding: chunked\r\n", chunk, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			app := rawApp(t, func(c net.Conn, r *http.Request) bool {
				id := r.URL.Query().Get("id")
				if r.URL.Path == "/plain" {
					_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-For: %s\r\nContent-Length: %d\r\n\r\n%s", id, len(id), id)
					return err == nil
				}
				_, _ = fmt.Fprintf(c, "HTTP/1.1 %sX-For: %s\r\n\r\n", tt.head, id)
				time.Sleep(time.Duration(rand.N(3000)) * time.Microsecond) // So that the rest comes late.
				_, err := io.WriteString(c, tt.tail)
				return err == nil
			})
			s := startUnready(t, app)
			s.waitReady()
			var wrong, all atomic.Int64
			var callers sync.WaitGroup
			for range 8 {
				callers.Go(func() {
					client := &http.Client{Transport: &http.Transport{}}
					defer client.CloseIdleConnections()
					for range 60 {
						id, hostile := fmt.Sprint(all.Add(1)), rand.N(2) == 0
						method, path, want := "GET", "/plain", 200
						if hostile {
							method, path, want = tt.method, "/hostile", tt.status
						}
						r, _ := http.NewRequest(method, "http://"+s.Addr()+path+"?id="+id, nil)
						res, err := client.Do(r)
						if err != nil {
							t.Errorf("%s %s: %v", method, path, err)
							continue
						}
						body, err := io.ReadAll(res.Body)
						res.Body.Close()
						switch {
						case want == 0:
							if res.StatusCode != http.StatusBadGateway {
								wrong.Add(1)
							}
						case err != nil, res.StatusCode != want, res.Header.Get("X-For") != id, !hostile && string(body) != id, hostile && len(body) > 0:
							wrong.Add(1)
						}
					}
				})
			}
			callers.Wait()
			if n := wrong.Load(); n > 0 {
				t.Errorf("%d of %d answers were not the caller's own", n, all.Load())
			}
		})
	}
}

// An app's answer that is longer than its length shows by bytes on an idle connection: from
// then on each connection of the app carries one request.
func TestTraffic_LongerThanItSays(t *testing.T) {
	var conns sync.Map
	var opened atomic.Int64
	late := make(chan struct{}, 1)
	app := rawApp(t, func(c net.Conn, r *http.Request) bool {
		if _, old := conns.LoadOrStore(c, true); !old {
			opened.Add(1)
		}
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"); err != nil {
			return false
		}
		if r.URL.Path == "/long" {
			<-late
			_, _ = io.WriteString(c, " and more")
			late <- struct{}{}
		}
		return true
	})
	s := startUnready(t, app)
	s.waitReady()
	if got := s.get(s.Addr(), "/long"); got.text != "hello" {
		t.Fatalf("got %q", got.text)
	}
	late <- struct{}{}
	<-late // The bytes are in the socket.
	for range 10 {
		if got := s.get(s.Addr(), "/"); got.text != "hello" {
			t.Errorf("got %d %q", got.StatusCode, got.text)
		}
	}
	if n := opened.Load(); n != 11 {
		t.Errorf("11 requests over %d connections, want 11", n)
	}
}
