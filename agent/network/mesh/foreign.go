package mesh

import (
	"context"
	"errors"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// Foreign returns the kind of a foreign entry that routes a name; empty: there is none.
// Foreign intentions are not counted.
func Foreign(ctx context.Context, entries interface {
	Entry(ctx context.Context, kind, name string) (api.ConfigEntry, error)
}, name string) (kind string, err error) {
	for _, kind := range routing() {
		e, err := entries.Entry(ctx, kind, name)
		switch {
		case errors.Is(err, wadi.ErrNotFound):
		case err != nil:
			return "", err
		case owner(e) == "":
			return kind, nil
		}
	}
	return "", nil
}
