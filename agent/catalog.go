package agent

import (
	"context"
	"errors"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/agent/network/mesh"
	"github.com/wadi-run/wadi/internal/consul"
)

// catalog is Consul as admission sees it.
type catalog struct{ *consul.Client }

var _ admission.Catalog = catalog{}

// ForeignService implements [admission.Catalog]. Wadi's own services are registered by
// Nomad with a revision in their meta. One whose checks fail is somebody's, too.
func (c catalog) ForeignService(ctx context.Context, name string) (what string, err error) {
	found, err := c.Registered(ctx, name)
	if err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return "", err
	}
	for _, in := range found {
		if service, _, ok := wadi.SplitRevisionID(in.Meta["revision"]); !ok || service != name {
			return "service", nil
		}
	}
	return mesh.Foreign(ctx, c.Client, name)
}
