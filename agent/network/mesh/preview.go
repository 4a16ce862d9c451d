package mesh

import (
	"context"
	"fmt"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// Preview is one entry before and after a route is applied, as encoding/json decodes it and
// without what is empty or Consul's own; nil: there is none.
type Preview struct {
	Kind, Name    string
	Before, After any
}

// Preview returns what Apply would make of the entries of a service, in the end. It writes
// nothing. foreign are entries in the way, for instance "service-router hello": while there
// are any, Apply does not write.
func (l *Layer) Preview(ctx context.Context, r wadi.Route) (all []Preview, foreign []string, err error) {
	want, err := wanted(r)
	if err != nil {
		return nil, nil, fmt.Errorf("mesh entries of %s: %w", r.Service, err)
	}
	have, err := l.present(ctx, r.Service, want)
	if err != nil {
		return nil, nil, fmt.Errorf("read mesh entries of %s: %w", r.Service, err)
	}
	for _, h := range have {
		if isForeign(r.Service, want, h) {
			foreign = append(foreign, h.GetKind()+" "+h.GetName())
		}
	}
	all, err = previews(r.Service, want, have)
	return all, foreign, err
}

// previews pairs the entries that are wanted with those there are. Foreign entries are left
// out: their contents are for others.
func previews(service string, want, have []api.ConfigEntry) ([]Preview, error) {
	var all []Preview
	add := func(before, after api.ConfigEntry) error {
		some := after
		if some == nil {
			some = before
		}
		p := Preview{Kind: some.GetKind(), Name: some.GetName()}
		var err error
		if before != nil {
			if p.Before, err = canonical(before); err != nil {
				return err
			}
		}
		if after != nil {
			if p.After, err = canonical(after); err != nil {
				return err
			}
		}
		all = append(all, p)
		return nil
	}
	for _, w := range inOrder(want) {
		h := find(have, w)
		if h != nil && isForeign(service, want, h) {
			continue
		}
		if err := add(h, w); err != nil {
			return nil, err
		}
	}
	for _, h := range inOrder(have) {
		if owner(h) == service && find(want, h) == nil {
			if err := add(h, nil); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}
