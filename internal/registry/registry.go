// Package registry asks image registries which digest a tag has now.
//
// It promises that a question ends in time and takes bounded memory, whatever the registry
// does; that credentials go to the image's registry and where that has its tokens made, and
// nowhere else; that an address is judged when it is dialled, so that no name leads to one that
// may not be asked; and that no error has credentials or the body of an answer. It keeps no
// answer about a tag: it may have moved. It refuses to pull, and to judge what an image is.
package registry

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Settings are what a reload may change. The zero value asks anonymously, within 10s.
type Settings struct {
	Timeout      time.Duration // Of one question with all that it needs; 0: 10s.
	DockerConfig string        // File of credentials as `docker login` writes it; empty: none.
	CAFile       string        // Authorities of registries beside the system's; empty: none.
	CertsDir     string        // Certificates by registry, as in /etc/docker/certs.d; empty: none.

	// AllowNetworks are addresses that may be asked always. Else a registry may be asked at a
	// private address only if the image itself names the registry, and at a link-local one never.
	AllowNetworks []netip.Prefix
	// InsecureRegistries are asked by HTTP or by HTTPS with any certificate: "host" or
	// "host:port" as images have it. Registries of this machine are too.
	InsecureRegistries []string
}

// Options is what New needs.
type Options struct {
	Settings
	Registerer prometheus.Registerer // Nil: nothing is counted.
	DNS        *net.Resolver         // Nil: the machine's.
}

// Credentials are those of one task. The zero value is none.
type Credentials struct {
	Username, Password string
	Server             string // The registry that they are for; empty: that of the image.
}

// String implements fmt.Stringer without the password.
func (c Credentials) String() string {
	if c == (Credentials{}) {
		return "no credentials"
	}
	return "credentials"
}

// GoString implements fmt.GoStringer without the password.
func (c Credentials) GoString() string { return c.String() }

// Resolver resolves images. Make it with New. It is safe for concurrent use.
type Resolver struct {
	settings atomic.Pointer[loaded]
	slots    *slots
	flights  flights
	configs  configs
	metrics  *metrics
	dns      *net.Resolver
}

// New returns a resolver, or an error if a file of the settings can't be used.
func New(o Options) (*Resolver, error) {
	l, err := load(o.Settings)
	if err != nil {
		return nil, err
	}
	r := &Resolver{slots: newSlots(), metrics: newMetrics(o.Registerer), dns: o.DNS}
	r.settings.Store(l)
	return r, nil
}

// Prepare reads the files of new settings. The settings are in force when apply is called.
func (r *Resolver) Prepare(s Settings) (apply func(), err error) {
	l, err := load(s)
	if err != nil {
		return nil, err
	}
	return func() { r.settings.Store(l) }, nil
}

// Resolve returns the digest ("sha256:…") that the tag of an image has at its registry: of an
// image for several platforms that of its index. A name with a digest is not asked about. The
// credentials are own, or else those of the Docker configuration for the registry, or none.
//
// The error is an [*Error], or ctx's.
func (r *Resolver) Resolve(ctx context.Context, image string, own Credentials) (digest string, err error) {
	digest, err = r.resolve(ctx, image, own)
	r.metrics.count(err)
	return digest, err
}
