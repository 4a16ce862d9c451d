package main_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-run/wadi/proxy/queue"
)

// process is a queue-proxy that runs.
type process struct {
	*exec.Cmd
	addr string
	log  *strings.Builder
	done chan struct{} // Closed when all of its log is read.
}

// started runs the command in front of app until it says where it listens.
func started(t *testing.T, app string, environ ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(binary(t)), log: &strings.Builder{}, done: make(chan struct{})}
	p.Env = append([]string{"WADI_SERVICE=a", "WADI_REVISION=a-00001", "WADI_LISTEN=127.0.0.1:0",
		"WADI_ADMIN=127.0.0.1:0", "WADI_METRICS=127.0.0.1:0", "WADI_TARGET=" + app}, environ...)
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	addr := make(chan string, 1)
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.log.WriteString(lines.Text() + "\n")
			if _, rest, ok := strings.Cut(lines.Text(), "listen="); ok {
				addr <- strings.Fields(rest)[0]
			}
		}
	}()
	select {
	case p.addr = <-addr:
	case <-time.After(2 * time.Minute):
		t.Fatal("did not start")
	}
	return p
}

// callerOf makes clients that speak a protocol.
func callerOf(http2 bool, conns int) *http.Client {
	var p http.Protocols
	p.SetHTTP1(!http2)
	p.SetUnencryptedHTTP2(http2)
	return &http.Client{Transport: &http.Transport{Protocols: &p, MaxIdleConnsPerHost: conns}}
}

// Under load no request is lost that comes before the listener closes. Over HTTP/1 the
// client can't send a body twice, so that it hides no loss; over HTTP/2 it may repeat what it
// has not sent when the GOAWAY comes.
//
// Each caller has a client of its own: a shared one could keep a new connection for a later
// request, and in HTTP/1 the end of a connection that was idle for as long as a drain
// settles can always cross a request.
func TestCommand_LosesNothing(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Millisecond)
		_, _ = io.Copy(w, r.Body)
	}))
	defer app.Close()
	for name, http2 := range map[string]bool{"HTTP/1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			p := started(t, app.Listener.Addr().String(), "WADI_DRAIN_TIMEOUT=6s") // It settles for half of it.
			var answered, lost atomic.Int64
			var callers sync.WaitGroup
			ended, end := context.WithCancel(t.Context())
			defer end()
			for i := range 64 {
				callers.Go(func() {
					client := callerOf(http2, 1)
					defer client.CloseIdleConnections()
					for n := 0; ended.Err() == nil; n++ {
						begun := time.Now()
						want := fmt.Sprint(i, ":", n)
						err := echo(client, p.addr, want, http2)
						var op *net.OpError
						if errors.As(err, &op) && op.Op == "dial" {
							return // Nothing listens any more, and nothing was sent.
						} else if err != nil && strings.HasSuffix(err.Error(), "http2: client conn could not be established") {
							return // It ended before the client of a busy machine sent anything: the listener was closed.
						} else if err != nil && !http2 && time.Since(begun) >= queue.DefaultSettle {
							return // So busy is the machine that the connection was idle, see above.
						} else if err != nil {
							if lost.Add(1) == 1 {
								t.Errorf("lost: %v", err)
							}
							return
						}
						answered.Add(1)
					}
				})
			}
			for answered.Load() < 2000 {
				time.Sleep(5 * time.Millisecond)
			}
			before := answered.Load()
			if err := p.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			callers.Wait()
			<-p.done
			if err := p.Wait(); err != nil || !strings.Contains(p.log.String(), "drained") {
				t.Errorf("ended with %v:\n%s", err, p.log)
			}
			if lost.Load() > 0 || answered.Load() == before {
				t.Errorf("%d lost; %d answered, %d of them before the signal", lost.Load(), answered.Load(), before)
			}
		})
	}
}

func echo(client *http.Client, addr, text string, again bool) error {
	r, err := http.NewRequest(http.MethodPost, "http://"+addr+"/", strings.NewReader(text))
	if err != nil {
		return err
	}
	if !again {
		r.GetBody = nil
	}
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err == nil && string(got) != text {
		err = fmt.Errorf("%d %q, want %q", res.StatusCode, got, text)
	}
	return err
}

// A caller that has a connection and no request yet is answered as well.
func TestCommand_AnswersOverConnectionsThatWait(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	defer app.Close()
	p := started(t, app.Listener.Addr().String(), "WADI_DRAIN_TIMEOUT=1m")
	waiting, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	io.WriteString(waiting, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(waiting), nil)
	if err != nil || res.StatusCode != 200 {
		t.Errorf("%+v, %v", res, err)
	}
	<-p.done
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
}
