package queue

import (
	"errors"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// leaves has p end what is idle, as at the end of a drain.
func leaves(t *testing.T, p *Proxy, want int) {
	t.Helper()
	soon(t, "quiet", func() bool {
		p.conns.closeIdle(0)
		leaving := 0
		p.conns.mu.Lock()
		defer p.conns.mu.Unlock()
		for c := range p.conns.open {
			if c.phase.Load() == phaseLeaving {
				leaving++
			}
		}
		return leaving >= want
	})
}

// answered is how many requests were.
func answered(t *testing.T, p *Proxy) (n float64) {
	t.Helper()
	all, err := p.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == "wadi_queue_requests_total" {
			for _, m := range f.GetMetric() {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// A request that crosses the end of an idle connection is not answered, and not
// served either. Its caller sees the end, no reset, parked or not.
func TestConn_LeftWithARequestOnItsWay(t *testing.T) {
	for name, crowd := range map[string]bool{"idle": false, "parked": true} {
		t.Run(name, func(t *testing.T) {
			p := running(t, 0)
			if crowd {
				crowdedBy(t, p)
			}
			c := call(t, p)
			c.ask("one")
			if crowd {
				soon(t, "parked", func() bool { return p.conns.parkedNow() == 1 })
			}
			served := answered(t, p)
			leaves(t, p, 1)
			io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nlate") // It may fail.
			if res, err := http.ReadResponse(c.answers, nil); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the late one got %v, %v, want the connection's end", res, err)
			}
			soon(t, "rid of it", func() bool { return p.conns.closeIdle(0) && p.conns.count() == 0 })
			if got := answered(t, p); got != served {
				t.Errorf("%v requests were served after the end", got-served)
			}
		})
	}
}

// A peer that does not hear of the end is not waited for for long.
func TestConn_LeftByAPeerThatStays(t *testing.T) {
	p := running(t, 0)
	c := call(t, p)
	c.ask("one")
	began := time.Now()
	soon(t, "rid of it", func() bool { return p.conns.closeIdle(0) && p.conns.count() == 0 })
	if took := time.Since(began); took < lingerFor/2 {
		t.Errorf("closed after %v, want a while for what is on its way", took)
	}
}

// Who has begun a request is not left.
func TestConn_NotLeftInARequest(t *testing.T) {
	p := running(t, 0)
	c := call(t, p)
	c.ask("one")
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Le") // Some of it.
	for end := time.Now().Add(2 * lingerFor); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		p.conns.closeIdle(0)
	}
	io.WriteString(c, "ngth: 4\r\n\r\nrest")
	c.answer("rest")
}

// taken is the one connection that is parked, no longer so, as if a byte had come.
func taken(t *testing.T, p *Proxy) (c *conn) {
	t.Helper()
	soon(t, "parked", func() bool { return p.conns.parkedNow() == 1 })
	p.conns.mu.Lock()
	defer p.conns.mu.Unlock()
	for c = range p.conns.open {
		if p.conns.parked.Remove(c) {
			return c
		}
	}
	t.Fatal("it is parked no more")
	return nil
}

// One that is left on its way back to the server gets there no more: its answer could
// not be sent.
func TestConn_LeftOnItsWayToTheServer(t *testing.T) {
	p := running(t, 0)
	crowdedBy(t, p)
	call(t, p).ask("one")
	c := taken(t, p)
	c.leave()
	if p.conns.exchange(c) != nil {
		t.Error("the server gets one that ends")
	}
}

// One that the server gets back without a request holds up no drain.
func TestConn_LeftAfterItWasGivenBack(t *testing.T) {
	p := running(t, 0)
	crowdedBy(t, p)
	call(t, p).ask("one")
	p.conns.parked.GiveBack(taken(t, p))
	soon(t, "rid of it", func() bool { return p.conns.closeIdle(0) && p.conns.count() == 0 })
}
