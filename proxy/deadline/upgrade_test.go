package deadline_test

import (
	"net"
	"net/http/httptest"
	"testing"

	"github.com/wadi-run/wadi/proxy/deadline"
)

// checkedConn is a connection that checks the requests on it.
type checkedConn struct {
	net.Conn
	told int
}

func (c *checkedConn) Upgraded() { c.told++ }

// The checking of requests on a connection ends with an upgrade; else
// it would read another protocol as requests.
func TestNewUpgraded_EndsTheChecking(t *testing.T) {
	c := &checkedConn{}
	deadline.NewUpgraded(c, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil), nil)
	if c.told == 0 {
		t.Error("the connection was not told")
	}
}
