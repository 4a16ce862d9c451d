package activator_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// An app refuses an upload that does not go on: its instance takes the next request
// while the first client still has time to see that.
func TestEarlyRefusalFreesTheInstance(t *testing.T) {
	set := settings()
	set.ConcurrencyLimit = 1
	g := newRig(t, set)
	b := newBackend(t, "alloc-1")
	b.app = func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.Header().Set("Connection", "close") // Else net/http trips over the rest of the body.
			_ = http.NewResponseController(w).EnableFullDuplex()
			http.Error(w, "no", http.StatusUnauthorized)
		}
	}
	g.place(b.ep)
	c, err := net.Dial("tcp", g.srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\nbegin")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Fatalf("got %v, %v", res, err)
	}
	if got := g.get(t); got.status != http.StatusOK {
		t.Errorf("the next one got %v", got)
	}
	if n := g.counter(t, "wadi_activator_requests_total", "4xx"); n != 0 {
		t.Error("the next one waited for the first client")
	}
}

// counter reads a metric for one class.
func (g *rig) counter(t *testing.T, name, class string) (sum float64) {
	t.Helper()
	families, err := g.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetName() == "class" && l.GetValue() == class {
					sum += m.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}
