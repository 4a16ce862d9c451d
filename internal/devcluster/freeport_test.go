package devcluster_test

import (
	"net"
	"testing"

	"github.com/wadi-run/wadi/internal/devcluster"
)

// A port that was chosen is none that the kernel gives to a connection meanwhile.
func TestListenFree(t *testing.T) {
	seen := map[int]bool{}
	for range 50 {
		l, err := devcluster.ListenFree()
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		port := l.Addr().(*net.TCPAddr).Port
		if port < 10000 || port >= 20000 || seen[port] {
			t.Errorf("got port %d, want another one from 10000 to 19999", port)
		}
		seen[port] = true
	}
}
