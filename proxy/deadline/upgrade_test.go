package deadline_test

import (
	"github.com/wadi-run/wadi/proxy/deadline"
	"net"
	"net/http/httptest"
	"testing"
)

// checkedConn is a connection on which somebody checks requests.
type checkedConn struct {
	net.Conn
	told int
}

func (c *checkedConn) Upgraded() { c.told++ }

// Who checks the requests of a connection hears that there are none any more; else
// it would read another protocol as requests.
func TestNewUpgraded_EndsTheChecking(t *testing.T) {
	c := &checkedConn{}
	deadline.NewUpgraded(c, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil), nil)
	if c.told == 0 {
		t.Error("the connection was not told")
	}
}
