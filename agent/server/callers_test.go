package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi/agent/server"
)

// flood sends requests to a server, all at the same moment.
type flood struct {
	t *testing.T
	s *server.Server
}

// from sends n requests, and returns how many are answered and the last Retry-After.
func (f flood) from(n int, remote, path string, token func(i int) string) (answered int, retry string) {
	f.t.Helper()
	for i := range n {
		r := httptest.NewRequest("GET", path, nil)
		r.RemoteAddr = remote
		r.Header.Set("X-Nomad-Token", token(i))
		w := httptest.NewRecorder()
		f.s.Handler().ServeHTTP(w, r)
		if w.Code == http.StatusTooManyRequests {
			retry = w.Header().Get("Retry-After")
		} else {
			answered++
		}
	}
	return answered, retry
}

func none(int) string { return "" }

// A caller's requests are bounded by its address, whatever it claims to be, and by its token,
// wherever it is. Others go on.
func TestCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := newUnserved(t, func(c *server.Config) { c.RequestsPerSecond = 10 })
		f := flood{t, s}
		const path = "/v1/services"
		if got, retry := f.from(100, "192.0.2.1:1", path, none); got != 20 || retry != "1" {
			t.Errorf("of one address %d are answered, then Retry-After %s", got, retry)
		}
		if got, _ := f.from(100, "192.0.2.1:2", path, strconv.Itoa); got != 0 {
			t.Errorf("with other tokens the same address gets %d answers", got)
		}
		if got, _ := f.from(1, "192.0.2.2:1", path, none); got != 1 {
			t.Error("another address is refused")
		}
		if got, _ := f.from(100, "192.0.2.1:1", "/v1/agent/health", none); got != 100 {
			t.Errorf("%d of 100 health checks are answered", got)
		}
		if got, _ := f.from(100, "192.0.2.1:1", "/v1/agent/health", strconv.Itoa); got != 0 {
			t.Errorf("%d of 100 health checks with tokens are answered: Nomad is asked about each", got)
		}
		time.Sleep(time.Second)
		if got, _ := f.from(100, "192.0.2.1:1", path, none); got != 10 {
			t.Errorf("a second later %d are answered", got)
		}
		// One token from many addresses, and many addresses of one customer.
		spread := 0
		for i := range 100 {
			n, _ := f.from(1, fmt.Sprintf("198.51.100.%d:1", i), path, func(int) string { return "stolen" })
			spread += n
		}
		if spread != 20 {
			t.Errorf("of one token %d are answered", spread)
		}
		network := 0
		for i := range 100 {
			n, _ := f.from(1, fmt.Sprintf("[2001:db8::%x]:1", i+1), path, none)
			network += n
		}
		if network != 20 {
			t.Errorf("of one IPv6 network %d are answered", network)
		}
	})
}

// What is counted of callers does not grow with them.
func TestCallers_Bounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := newUnserved(t, func(c *server.Config) { c.RequestsPerSecond = 1 })
		f := flood{t, s}
		for i := range 3 * server.MaxCallers {
			f.from(1, fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255), "/nothing", none)
		}
		if got := s.Callers(); got != server.MaxCallers {
			t.Errorf("it remembers %d callers, and may remember %d", got, server.MaxCallers)
		}
		if got, _ := f.from(1, "10.0.255.255:1", "/nothing", none); got != 1 {
			t.Error("a forgotten caller is refused")
		}
	})
}
