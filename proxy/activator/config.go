package activator

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
)

// Endpoints knows where a revision's instances are.
type Endpoints interface {
	// Endpoints returns the instances placed now, and a channel that is closed
	// at the next change of them. An instance that is missing counts as ended.
	Endpoints(revision string) ([]wadi.Endpoint, <-chan struct{})
}

// Waker brings a revision from zero.
type Waker interface {
	// Wake returns nil when it is done or not needed, because an instance is
	// placed or coming. wadi.ErrUnplaceable, wrapped with a reason, ends the
	// waiting; after other errors it is called again.
	Wake(ctx context.Context, revision string) error
}

// Diagnoses knows what keeps a revision's instances from starting.
type Diagnoses interface {
	Diagnosis(revision string) wadi.Diagnosis
}

// Dialer connects to an instance's traffic path, by TCP or mTLS.
type Dialer interface {
	Dial(ctx context.Context, ep wadi.Endpoint) (net.Conn, error)
}

// Config is what an Activator needs. The first six fields, Log and Registerer
// are required.
type Config struct {
	Name string // The agent's name, the source of the statistics.
	Boot string // Changes when the agent restarts.

	Endpoints Endpoints
	Waker     Waker
	Diagnoses Diagnoses
	Dialer    Dialer

	Settings // At first. See [Activator.Set].

	History time.Duration // Of the statistics; default one hour.

	// Guard checks a request that had to wait once more when it is granted an instance:
	// the rules may have changed meanwhile. Nil allows all.
	Guard Guard

	// Peer returns the caller's address of a request from outside the mesh: the queue
	// takes turns by it. Nil: all such requests count as one caller's.
	Peer func(*http.Request) string

	Log        hclog.Logger
	Registerer prometheus.Registerer
}

// Settings are what [Activator.Set] changes while it runs.
type Settings struct {
	MaxWaiting      int     // Requests of the whole agent; default 10000.
	MaxWaitingBytes int64   // That they take of memory, estimated; default 256 MiB.
	MaxWakes        float64 // Begun per second at most, fewer while Nomad is slow to place; default 20.

	// RequestRecords says that requests may carry a [RequestRecord]; else none is looked
	// for, at no cost.
	RequestRecords bool
}

// Set puts settings in force. Requests that already wait are never turned away by it: with
// a lower bound, new ones are until it is kept. While Nomad is slow to place, a higher rate of
// wakes is reached step by step.
func (a *Activator) Set(s Settings) {
	s = s.withDefaults()
	a.budget.set(int64(s.MaxWaiting), s.MaxWaitingBytes)
	a.wakes.set(s.MaxWakes)
	a.records.Store(s.RequestRecords)
}

func (s Settings) withDefaults() Settings {
	s.MaxWaiting = cmp.Or(s.MaxWaiting, 10000)
	s.MaxWaitingBytes = cmp.Or(s.MaxWaitingBytes, 256<<20)
	s.MaxWakes = cmp.Or(s.MaxWakes, 20)
	return s
}
