package mesh

import (
	"context"

	"github.com/hashicorp/consul/api"
)

// Owned lists the entries that Wadi wrote, each as its kind and name, by the service or
// activator that it wrote them for.
func Owned(ctx context.Context, entries interface {
	Entries(ctx context.Context, kind string) ([]api.ConfigEntry, error)
}) (map[string][]string, error) {
	out := map[string][]string{}
	for _, kind := range kinds() {
		all, err := entries.Entries(ctx, kind)
		if err != nil {
			return nil, err
		}
		for _, e := range all {
			if of := owner(e); of != "" {
				out[of] = append(out[of], kind+" "+e.GetName())
			}
		}
	}
	return out, nil
}
