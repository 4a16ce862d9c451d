package agent

import (
	"fmt"
	"net"
	"strconv"
	"sync/atomic"

	"github.com/wadi-run/wadi"
)

// advertised is the host at which others reach this agent, once it is known.
type advertised struct{ host atomic.Pointer[string] }

func (a *advertised) set(host string) { a.host.Store(&host) }

// get returns the host; empty while it is not known.
func (a *advertised) get() string {
	if host := a.host.Load(); host != nil {
		return *host
	}
	return ""
}

// reach returns the host:port at which others reach a listener of this agent.
func (a *advertised) reach(listener net.Addr) string {
	t, ok := listener.(*net.TCPAddr)
	if !ok {
		return listener.String()
	}
	host := t.IP.String()
	if t.IP.IsUnspecified() {
		host = a.get()
	}
	return net.JoinHostPort(host, strconv.Itoa(t.Port))
}

// portOf returns the port of a TCP listener.
func portOf(listener net.Addr) int {
	if t, ok := listener.(*net.TCPAddr); ok {
		return t.Port
	}
	return 0
}

// onLoopback reports whether an address to listen on is this machine's alone.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && wadi.IsLoopback(host)
}

// portError says which setting names a port that can't be had.
func portError(setting, address string, err error) error {
	return fmt.Errorf("listen on %s (%s): %w; another agent, or another program, may have that port", address, setting, err)
}
