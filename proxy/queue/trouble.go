package queue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/wadi-run/wadi"
)

// What is told of an app that is not ready, and of one that can be reached past us.
const (
	headerWide       = "Wadi-Wide"       // Where it listens besides loopback.
	headerUnshielded = "Wadi-Unshielded" // Why its network lets in everybody, though it shall not.

	maxTrouble = 200              // Characters of either.
	lookEvery  = time.Second      // How old what is told of the sockets may be, while it matters.
	wideEvery  = 10 * time.Second // The same of an app that is ready.
)

// statusError is an answer to a probe that is not yes.
type statusError struct {
	what   string // For instance "GET /healthz".
	status int
}

func (e *statusError) Error() string { return fmt.Sprintf("%s was answered %d", e.what, e.status) }

// scene is where an app is probed.
type scene struct {
	target  netip.AddrPort // Zero: it is a name, for which no sockets are looked.
	addr    string         // The target as it was given.
	what    string         // The probe in words.
	timeout time.Duration
	own     bool // The network namespace is the instance's own.
	others  neighbours
}

// newScene reads it from the configuration.
func newScene(c Config) scene {
	s := scene{addr: c.Target, what: probeWords(c.Probe), timeout: c.Probe.Timeout.D(), others: neighbours(c.Upstreams)}
	s.target, _ = netip.ParseAddrPort(c.Target)
	for _, own := range []string{c.Listen, c.Admin, c.Metrics, c.Envoy} {
		s.others = append(s.others, portOf(own))
	}
	// In a bridge network, and only there, the ports are these.
	s.own = portOf(c.Admin) == wadi.BridgeAdminPort && portOf(c.Metrics) == wadi.BridgeMetricsPort
	return s
}

func portOf(hostPort string) uint16 {
	_, port, _ := net.SplitHostPort(hostPort)
	n, _ := strconv.ParseUint(port, 10, 16) // 0 is nobody's.
	return uint16(n)
}

func probeWords(p wadi.Probe) string {
	switch {
	case p.HTTP != "":
		return "GET " + p.HTTP
	case p.GRPC != nil:
		return "gRPC health check " + strconv.Quote(*p.GRPC)
	}
	return "connect"
}

// explain says for people why a probe failed, and what the sockets tell about it.
func (s scene) explain(err error, sockets []netip.AddrPort) string {
	var status *statusError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return s.refused(apps(sockets, s.target.Port(), s.own, s.others))
	case errors.As(err, &status):
		switch text := status.Error(); status.status {
		case 400, 403, 421:
			return fmt.Sprintf("%s (the probe's Host is %s: does the app refuse hosts that it does not know?)", text, s.addr)
		case 404:
			return text + " (the block probe says which path is asked)"
		default:
			return text
		}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("%s was not answered within %v (probe.timeout)", s.what, s.timeout)
	}
	return fmt.Sprintf("%s: %v", s.what, err)
}

// refused tells of a connection that nobody took, and where the app listens instead.
func (s scene) refused(at []netip.AddrPort) string {
	switch text := "nothing listens on " + s.addr; {
	case slices.ContainsFunc(at, func(a netip.AddrPort) bool { return reaches(a, s.target) }):
		return fmt.Sprintf("%s was refused (the app listens on %s; is that for IPv6 alone?)", s.addr, tellSockets(at))
	case len(at) > 0:
		return text + " (the app listens on " + tellSockets(at) + ")"
	case !s.own:
		return text + " (in a host network an app listens where PORT says)"
	default:
		return text
	}
}

// wide says where an app listens that can be reached past the queue-proxy; empty if
// nowhere.
func (s scene) wide(sockets []netip.AddrPort) string {
	var at []netip.AddrPort
	for _, a := range sockets {
		if a.Port() == s.target.Port() && !a.Addr().IsLoopback() {
			at = append(at, a)
		}
	}
	return tellSockets(at)
}

// witness tells what is amiss with the app. It looks at the sockets only when it is
// asked, and not all the time.
type witness struct {
	scene   scene
	shields bool // Nobody should reach the app but through us, and only where it listens keeps them out.
	look    func() ([]netip.AddrPort, error)

	unshielded string // Why nothing else keeps them out, though it shall. Set before anything is served.

	mu      sync.Mutex
	sockets []netip.AddrPort
	looked  time.Time
}

// unready says why the app is not ready, by the last probe's error.
func (w *witness) unready(err error) string {
	if err == nil {
		return ""
	}
	return wadi.Plain(w.scene.explain(err, w.seen(lookEvery)), maxTrouble)
}

// wide says where the app can be reached past the queue-proxy; empty if nowhere.
func (w *witness) wide() string {
	if !w.shields {
		return ""
	}
	return wadi.Plain(w.scene.wide(w.seen(wideEvery)), maxTrouble)
}

// forget makes the next look at the sockets a new one: the app has begun to listen, or
// ended.
func (w *witness) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looked = time.Time{}
}

// seen are the sockets, as they were not longer ago than age.
func (w *witness) seen(age time.Duration) []netip.AddrPort {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.looked.IsZero() || time.Since(w.looked) > age {
		w.sockets, _ = w.look() // What can't be read tells nothing.
		w.looked = time.Now()
	}
	return w.sockets
}
