package agent

import (
	"net"
	"testing"
)

// A listener on all addresses is reached at the advertised host, any other one at its own.
func TestAdvertised(t *testing.T) {
	var a advertised
	a.set("10.0.0.1")
	for want, listener := range map[string]net.Addr{
		"10.0.0.1:4747":  &net.TCPAddr{IP: net.IPv4zero, Port: 4747},
		"10.0.0.1:4748":  &net.TCPAddr{IP: net.IPv6unspecified, Port: 4748},
		"127.0.0.1:4747": &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4747},
		"[::1]:4747":     &net.TCPAddr{IP: net.IPv6loopback, Port: 4747},
	} {
		if got := a.reach(listener); got != want {
			t.Errorf("%v is reached at %s, want %s", listener, got, want)
		}
	}
}
