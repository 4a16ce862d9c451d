package admissiontest

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/jobspecs"
)

// MaxBytes is the size limit of New's Admission.
const MaxBytes = 64 << 10

// Now is the time of New's Admission, in Unix seconds.
const Now = 1700000000

// New returns an Admission with fakes, and without registries.
func New(n *Nomad, s *Store, c Catalog) (*admission.Admission, error) {
	return WithRegistries(n, s, c, nil)
}

// WithRegistries is New with registries; nil: there are none.
func WithRegistries(n *Nomad, s *Store, c Catalog, r admission.Registries) (*admission.Admission, error) {
	return admission.New(admission.Config{
		Store: s, Nomad: n, Catalog: c, Intentions: n, Registries: r,
		Settings: Settings(),
		Now:      func() time.Time { return time.Unix(Now, 0) },
	})
}

// Settings are those of New's Admission, to be changed and set.
func Settings() admission.Settings {
	return admission.Settings{
		MaxBytes: MaxBytes, GatewayDomain: "wadi.localhost",
		Agent: jobspecs.Agent{
			QueueProxyTask: json.RawMessage(`{"Driver": "raw_exec", "Config": {"command": "queue-proxy"}}`),
		},
	}
}

// Catalog is a fake of Consul's catalog: the names of foreign services.
type Catalog []string

var _ admission.Catalog = Catalog(nil)

// ForeignService implements admission.Catalog.
func (c Catalog) ForeignService(_ context.Context, name string) (string, error) {
	if slices.Contains(c, name) {
		return "service", nil
	}
	return "", nil
}
