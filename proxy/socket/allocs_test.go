//go:build !race

package socket_test

import (
	"io"
	"testing"
)

// Reading and writing allocate nothing.
func TestConn_Allocations(t *testing.T) {
	c, peer := pair(t)
	b := make([]byte, 100)
	if got := testing.AllocsPerRun(200, func() {
		if _, err := c.Write(b); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(peer, b); err != nil {
			t.Error(err)
		}
		if _, err := peer.Write(b); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(c, b); err != nil {
			t.Error(err)
		}
	}); got >= 1 { // The collector may empty the pool.
		t.Errorf("%v allocations, want none", got)
	}
}
