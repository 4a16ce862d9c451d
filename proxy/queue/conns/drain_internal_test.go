package conns

import (
	"errors"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// shutDown ends the idle connections of s, as at the end of a drain, until want are closing.
func shutDown(t *testing.T, s *server, want int) {
	t.Helper()
	eventually(t, "closing", func() bool {
		s.l.CloseIdle(0)
		closing := 0
		s.l.mu.Lock()
		defer s.l.mu.Unlock()
		for c := range s.l.open {
			if c.phase.Load() == phaseClosing {
				closing++
			}
		}
		return closing >= want
	})
}

// A request that crosses the end of an idle connection is neither answered nor served.
// Its caller sees the end and no reset, whether the connection was parked or not.
func TestConn_ShutDownWithARequestOnItsWay(t *testing.T) {
	for name, crowded := range map[string]bool{"idle": false, "parked": true} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, 0)
			if crowded {
				crowd(t, s)
			}
			c := dial(t, s)
			c.ask("one")
			if crowded {
				eventually(t, "parked", func() bool { return s.l.lot.Len() == 1 })
			}
			served := s.served.Load()
			shutDown(t, s, 1)
			io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nlate") // It may fail.
			if res, err := http.ReadResponse(c.answers, nil); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the late request got %v, %v, want the connection's end", res, err)
			}
			eventually(t, "closed", func() bool { return s.l.CloseIdle(0) && s.l.Len() == 0 })
			if got := s.served.Load(); got != served {
				t.Errorf("%v requests were served after the end", got-served)
			}
		})
	}
}

// A peer that does not close its side gets a moment, and no more.
func TestConn_ShutDownWithAPeerThatStays(t *testing.T) {
	s := serve(t, 0)
	c := dial(t, s)
	c.ask("one")
	began := time.Now()
	eventually(t, "closed", func() bool { return s.l.CloseIdle(0) && s.l.Len() == 0 })
	if took := time.Since(began); took < lingerFor/2 {
		t.Errorf("closed after %v, want a while for what is on its way", took)
	}
}

// A connection with a request that has begun is not shut down.
func TestConn_NotShutDownInARequest(t *testing.T) {
	s := serve(t, 0)
	c := dial(t, s)
	c.ask("one")
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Le") // Not all of the header.
	for end := time.Now().Add(2 * lingerFor); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		s.l.CloseIdle(0)
	}
	io.WriteString(c, "ngth: 4\r\n\r\nrest")
	c.answer("rest")
}

// unparked takes the only parked connection out of the lot, as if a byte had come.
func unparked(t *testing.T, s *server) (c *conn) {
	t.Helper()
	eventually(t, "parked", func() bool { return s.l.lot.Len() == 1 })
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	for c = range s.l.open {
		if s.l.lot.Remove(c) {
			return c
		}
	}
	t.Fatal("nothing is parked any more")
	return nil
}

// A connection that is shut down on its way back to the server does not get there: its
// answer could not be sent.
func TestConn_ShutDownOnItsWayToTheServer(t *testing.T) {
	s := serve(t, 0)
	crowd(t, s)
	dial(t, s).ask("one")
	c := unparked(t, s)
	c.shutDown()
	if s.l.rewrap(c) != nil {
		t.Error("the server gets a connection that ends")
	}
}

// A connection that the server gets back without a request does not block a drain.
func TestConn_ShutDownAfterItWasGivenBack(t *testing.T) {
	s := serve(t, 0)
	crowd(t, s)
	dial(t, s).ask("one")
	s.l.lot.Release(unparked(t, s))
	eventually(t, "closed", func() bool { return s.l.CloseIdle(0) && s.l.Len() == 0 })
}
