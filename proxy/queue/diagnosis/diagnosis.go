// Package diagnosis says for people what is wrong with an app: why it is not ready,
// and where it can be reached past the queue-proxy.
//
// It promises one printable line of at most [MaxText] characters, and reads the
// kernel's table of sockets only when it is asked, at most once a second. It never
// probes the app, and changes nothing.
package diagnosis

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/queue/probe"
)

// MaxText is how many characters a diagnosis has at most.
const MaxText = 200

// How old the known sockets may be.
const (
	unreadyMaxAge = time.Second      // Of an app that is not ready.
	exposedMaxAge = 10 * time.Second // Of an app that may be ready.
)

// Config describes the app and its network.
type Config struct {
	Target     string // host:port at which the app is probed and called.
	Probe      wadi.Probe
	OwnNetwork bool     // The network namespace is the instance's own.
	OtherPorts []uint16 // Ports in the own network that are not the app's, but for Envoy's fixed ones.
}

// Diagnosis diagnoses one app. [New] makes one.
type Diagnosis struct {
	cfg       Config
	target    netip.AddrPort // Zero if it is a name, for which no sockets are searched.
	listening func() ([]netip.AddrPort, error)

	mu      sync.Mutex
	sockets []netip.AddrPort
	readAt  time.Time // Zero: the sockets are not known.
}

// New returns the diagnosis of the app that cfg describes.
func New(cfg Config) *Diagnosis {
	d := &Diagnosis{cfg: cfg, listening: listening}
	d.target, _ = netip.ParseAddrPort(cfg.Target)
	return d
}

// Unready explains why the app is not ready, by the last probe's error; "" for nil.
func (d *Diagnosis) Unready(err error) string {
	if err == nil {
		return ""
	}
	return wadi.OneLine(d.explain(err, d.known(unreadyMaxAge)), MaxText)
}

// Exposed lists the addresses other than loopback at which the app takes connections,
// past the queue-proxy; "" if there are none.
func (d *Diagnosis) Exposed() string {
	return wadi.OneLine(d.exposed(d.known(exposedMaxAge)), MaxText)
}

// Forget has the sockets read anew: the app has begun to listen, or has ended.
func (d *Diagnosis) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.readAt = time.Time{}
}

// known returns the listening sockets, read at most maxAge ago.
func (d *Diagnosis) known(maxAge time.Duration) []netip.AddrPort {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.readAt.IsZero() || time.Since(d.readAt) > maxAge {
		d.sockets, _ = d.listening() // A table that can't be read explains nothing.
		d.readAt = time.Now()
	}
	return d.sockets
}

// explain turns a probe's error into text, with what the sockets show.
func (d *Diagnosis) explain(err error, sockets []netip.AddrPort) string {
	var status *probe.StatusError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return d.refused(ofApp(sockets, d.target.Port(), d.cfg.OwnNetwork, d.cfg.OtherPorts))
	case errors.As(err, &status):
		switch text := status.Error(); status.Status {
		case 400, 403, 421:
			return fmt.Sprintf("%s (the probe's Host is %s: does the app refuse hosts that it does not know?)", text, d.cfg.Target)
		case 404:
			return text + " (the block probe says which path is asked)"
		default:
			return text
		}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("%s was not answered within %v (probe.timeout)", probe.Describe(d.cfg.Probe), d.cfg.Probe.Timeout.D())
	}
	return fmt.Sprintf("%s: %v", probe.Describe(d.cfg.Probe), err)
}

// refused explains a refused connection by the sockets of the app.
func (d *Diagnosis) refused(at []netip.AddrPort) string {
	switch text := "nothing listens on " + d.cfg.Target; {
	case slices.ContainsFunc(at, func(a netip.AddrPort) bool { return reaches(a, d.target) }):
		return fmt.Sprintf("%s was refused (the app listens on %s; is that for IPv6 alone?)", d.cfg.Target, listed(at))
	case len(at) > 0:
		return text + " (the app listens on " + listed(at) + ")"
	case !d.cfg.OwnNetwork:
		return text + " (in a host network an app listens where PORT says)"
	default:
		return text
	}
}

func (d *Diagnosis) exposed(sockets []netip.AddrPort) string {
	var at []netip.AddrPort
	for _, a := range sockets {
		if a.Port() == d.target.Port() && !a.Addr().IsLoopback() {
			at = append(at, a)
		}
	}
	return listed(at)
}
