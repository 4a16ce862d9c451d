package upstream

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// The other way has its time from the end of one, and from its own last byte.
func TestWay_Await(t *testing.T) {
	for name, tt := range map[string]struct {
		p     patience
		every time.Duration // That something comes; 0: nothing does.
		until time.Duration // That it ends by itself; 0: never.
		want  time.Duration
		cut   bool
	}{
		"ends":                     {patience{silent: time.Minute}, 0, time.Second, time.Second, false},
		"silent":                   {patience{silent: time.Minute}, 0, 0, time.Minute, true},
		"goes on":                  {patience{silent: time.Minute}, time.Second, time.Hour, time.Hour, false},
		"goes on against all":      {patience{silent: time.Minute, all: time.Minute}, time.Second, time.Hour, time.Minute, true},
		"slower than the patience": {patience{silent: time.Minute}, 2 * time.Minute, 0, time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &way{over: make(chan struct{})}
				stop := make(chan struct{})
				defer close(stop)
				if tt.every > 0 {
					go func() {
						for tick := time.NewTicker(tt.every); ; {
							select {
							case now := <-tick.C:
								w.last.Store(now.UnixNano())
							case <-stop:
								tick.Stop()
								return
							}
						}
					}()
				}
				if tt.until > 0 {
					time.AfterFunc(tt.until, func() {
						if !isOver(w) {
							close(w.over)
						}
					})
				}
				begun, cut := time.Now(), false
				w.await(tt.p, func() { cut = true; close(w.over) })
				if took := time.Since(begun); took != tt.want || cut != tt.cut {
					t.Errorf("over after %v, cut %v; want %v, %v", took, cut, tt.want, tt.cut)
				}
			})
		})
	}
}

func isOver(w *way) bool {
	select {
	case <-w.over:
		return true
	default:
		return false
	}
}

// tcpPair is the two ends of a connection.
func tcpPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), d.Close() })
	_ = d.SetDeadline(time.Now().Add(time.Minute))
	return c.(*net.TCPConn), d.(*net.TCPConn)
}

// When the caller or the app of a tunnel has gone, it ends though the other
// one never does.
func TestJoinConns_OneEnds(t *testing.T) {
	for name, first := range map[string]int{"caller": 0, "app": 1} {
		t.Run(name, func(t *testing.T) {
			caller, near := tcpPair(t)
			app, far := tcpPair(t)
			over := make(chan struct{})
			go func() {
				defer close(over)
				joinConns(near, near, far, patience{silent: 50 * time.Millisecond})
			}()
			ends := []*net.TCPConn{caller, app}
			_ = ends[first].CloseWrite()
			select {
			case <-over:
			case <-time.After(time.Minute):
				t.Fatal("the tunnel goes on")
			}
			if _, err := ends[1-first].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("the one that stays hears %v, want the end", err)
			}
		})
	}
}

func TestPatienceWith(t *testing.T) {
	if got := patienceWith("WebSocket"); got.all != webSocketEnd {
		t.Errorf("a WebSocket has %v", got)
	}
	if got := patienceWith("tcp"); got.all != 0 || got.silent != tunnelEnd {
		t.Errorf("another one has %v", got)
	}
}

// sizes is read in pieces, and notes how large they may be.
type sizes struct{ most int }

func (s *sizes) Read(b []byte) (int, error) {
	s.most = max(s.most, len(b))
	return 0, io.EOF
}

// A tunnel mostly waits: what it holds meanwhile, both ways, is within what a request is
// reckoned to hold where they are bounded by the task's memory.
func TestTunnel_HoldsLittle(t *testing.T) {
	const mostBuffer = 16 << 10
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	from := &sizes{}
	if err := (&way{from: from, over: make(chan struct{})}).copy(here); err != nil {
		t.Fatal(err)
	}
	if from.most > mostBuffer {
		t.Errorf("a buffer of %d bytes, want %d at most", from.most, mostBuffer)
	}
}
