package admission

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// check compares each service with the stored one.
func (a *Admission) check(ctx context.Context, r Request, adm *admitted) error {
	all := adm.candidates
	var refused refusals
	for _, c := range all {
		if err := a.checkOne(ctx, r, c, &refused); err != nil {
			return err
		}
	}
	// A caller learns no more about a service of another namespace.
	own := slices.DeleteFunc(slices.Clone(all), func(c *candidate) bool {
		return c.exists && c.stored.Service.Namespace != c.service.Namespace
	})
	if err := a.checkIntentions(ctx, r, own); err != nil {
		return err
	}
	if err := a.checkDomains(ctx, adm, &refused); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(r.CheckIndex)) {
		if !slices.ContainsFunc(all, func(c *candidate) bool { return c.service.Name == name }) {
			return &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("check_index names %q, which is not in what was submitted", name)}
		}
	}
	return refused.err()
}

// permit asks Nomad once whether the caller may submit to a namespace.
func (a *Admission) permit(ctx context.Context, token, namespace string, permitted map[string]bool) error {
	if permitted[namespace] {
		return nil
	}
	if err := a.Nomad.MaySubmit(ctx, token, namespace); err != nil {
		return fmt.Errorf("submit to namespace %q: %w", namespace, err)
	}
	permitted[namespace] = true
	return nil
}

// checkOne compares one service with the stored one.
func (a *Admission) checkOne(ctx context.Context, r Request, c *candidate, refused *refusals) error {
	name := c.service.Name
	stored, index, err := a.Store.Spec(ctx, name)
	switch {
	case errors.Is(err, wadi.ErrNotFound):
	case err != nil:
		return fmt.Errorf("read service %s: %w", name, err)
	default:
		c.exists, c.stored, c.index = true, stored, index
		// One of an earlier Wadi has no such setting, and is none that changes.
		c.stored.Service.ResolveImages = cmp.Or(c.stored.Service.ResolveImages, wadi.ResolveTry)
	}
	if c.exists && stored.Service.Namespace != c.service.Namespace {
		// The caller may have no right to read that namespace: nothing else is compared or named.
		refused.invalid(c, "namespace", "a service of that name is in another Nomad namespace, and the namespace can't change")
		return nil
	}
	if want, ok := r.CheckIndex[name]; ok && want != c.index {
		refused.clash(c, "", "check_index is %d, but the stored index is %d (0: not stored); read it again", want, c.index)
	}
	if !c.exists {
		foreign, err := a.Catalog.ForeignService(ctx, name)
		if err != nil {
			return fmt.Errorf("look for %s in Consul: %w", name, err)
		}
		if foreign != "" {
			refused.invalid(c, "", "Consul has a %s %q that is not managed by Wadi; choose another name, or delete that", foreign, name)
		}
		return nil
	}
	if stored.Deleting {
		refused.clash(c, "", "the service is being deleted; wait until it is gone")
	}
	if was := stored.Service.Protocol; was != c.service.Protocol {
		refused.invalid(c, "protocol", "the protocol can't change: it is %q; delete the service first, or choose another name", was)
	}
	return nil
}
