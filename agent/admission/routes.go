package admission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/jobspecs"
)

// maxReads is how many services are read at once.
const maxReads = 16

// checkRoutes refuses routes to tags that no target has, and to services that can't get the
// requests; checkTraffic does so for revisions. Services may lead to each other: of another
// service a route asks the split alone, and so no request goes round.
func (a *Admission) checkRoutes(ctx context.Context, adm *admitted, refused *refusals) error {
	for _, c := range adm.candidates {
		checkRuledTags(c, refused)
		for _, rule := range c.service.Routes {
			if rule.Service == "" {
				continue
			}
			if err := a.checkOther(ctx, adm, c, rule, refused); err != nil {
				return err
			}
		}
		if err := a.checkLeftMesh(ctx, adm, c, refused); err != nil {
			return err
		}
	}
	return nil
}

// checkRuledTags refuses routes to tags that no target of the service has. Of an order, which
// has no routes, the targets are refused.
func checkRuledTags(c *candidate, refused *refusals) {
	var tags []string
	for _, t := range c.service.Traffic {
		if t.Tag != "" {
			tags = append(tags, t.Tag)
		}
	}
	there := "there is none"
	if len(tags) > 0 {
		there = "there are: " + strings.Join(tags, ", ")
	}
	for _, rule := range c.service.Routes {
		switch {
		case rule.Tag == "" || slices.Contains(tags, rule.Tag):
		case c.draft == nil:
			refused.invalid(c, "targets", "the route %q leads to the tag %q, which no target would have (%s); keep it, with 0 %% if need be, or change the route in the service's file first", rule.Name, rule.Tag, there)
		default:
			refused.invalid(c, jobspecs.RoutePath(rule.Name)+".tag", "no traffic target has the tag %q (%s); give it to one", rule.Tag, there)
		}
	}
}

// checkOther refuses a route to a service that can't get the candidate's requests, or warns of
// it if only some callers reach it. A service in another namespace is as good as none: a
// caller learns nothing else about it.
func (a *Admission) checkOther(ctx context.Context, adm *admitted, c *candidate, rule wadi.RouteRule, refused *refusals) error {
	path := jobspecs.RoutePath(rule.Name) + ".service"
	other, deleting := wadi.Service{}, false
	if i := slices.IndexFunc(adm.candidates, func(o *candidate) bool { return o.service.Name == rule.Service }); i >= 0 {
		other = adm.candidates[i].service
	} else {
		spec, _, err := a.Store.Spec(ctx, rule.Service)
		switch {
		case errors.Is(err, wadi.ErrNotFound):
			refused.invalid(c, path, "there is no service %q; submit it before this one, or together with it", rule.Service)
			return nil
		case err != nil:
			return fmt.Errorf("read service %s: %w", rule.Service, err)
		}
		other, deleting = spec.Service, spec.Deleting
	}
	switch {
	case other.Name == c.service.Name:
		refused.invalid(c, path, "%q is this service itself; leave it out to go on by the traffic blocks, or set revision or tag", other.Name)
	case other.Namespace != c.service.Namespace:
		refused.invalid(c, path, "the service %q is in another Nomad namespace; a route stays within one", rule.Service)
	case deleting:
		refused.invalid(c, path, "the service %q is being deleted", other.Name)
	case other.Protocol != c.service.Protocol:
		refused.invalid(c, path, "the service %q has the protocol %q, and this one %q; a route does not translate", other.Name, other.Protocol, c.service.Protocol)
	case other.Mesh == wadi.MeshOff && c.service.Mesh != wadi.MeshOff:
		refused.invalid(c, path, "the service %q is not in the mesh (mesh = \"off\"), so callers in the mesh can't be led there; put it there, or take this one out", other.Name)
	case other.Visibility == wadi.MeshOnly && c.service.Visibility != wadi.MeshOnly:
		c.warnings = append(c.warnings, fmt.Sprintf("%s: the service %q is visible in the mesh alone, so from outside the gateway answers such requests with 404; callers in the mesh get there, if its intentions permit", path, other.Name))
	}
	return nil
}

// checkLeftMesh refuses to take a service out of the mesh while another's route leads mesh
// callers to it: Consul keeps no such route, and so would take no change of that service.
func (a *Admission) checkLeftMesh(ctx context.Context, adm *admitted, c *candidate, refused *refusals) error {
	if !c.exists || c.service.Mesh != wadi.MeshOff || c.stored.Service.Mesh == wadi.MeshOff {
		return nil
	}
	led, err := a.leadTo(ctx, c.service.Name)
	if err != nil {
		return err
	}
	for _, from := range led {
		submitted := slices.ContainsFunc(adm.candidates, func(o *candidate) bool { return o.service.Name == from.service }) // See checkOther.
		if !submitted && from.mesh != wadi.MeshOff {
			refused.invalid(c, "mesh", "the %s leads callers in the mesh here; change it first", from)
		}
	}
	return nil
}

// leading is a route of a service.
type leading struct {
	service, route string
	mesh           wadi.MeshMode
}

// String is, for instance, `route "bills" of the service "shop"`.
func (l leading) String() string {
	return fmt.Sprintf("route %q of the service %q", l.route, l.service)
}

// leadTo finds the first route of each stored service that leads to another service. Services
// that are being deleted, or can't be read, have none.
func (a *Admission) leadTo(ctx context.Context, service string) ([]leading, error) {
	names, err := a.Store.Services(ctx)
	if err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	var (
		mu    sync.Mutex
		found []leading
		group errgroup.Group
	)
	group.SetLimit(maxReads)
	for _, name := range names {
		if name == service {
			continue
		}
		group.Go(func() error {
			spec, _, err := a.Store.Spec(ctx, name)
			switch {
			case errors.Is(err, wadi.ErrNotFound), errors.Is(err, wadi.ErrUnreadable), err == nil && spec.Deleting:
				return nil
			case err != nil:
				return fmt.Errorf("read service %s: %w", name, err)
			}
			i := slices.IndexFunc(spec.Service.Routes, func(r wadi.RouteRule) bool { return r.Service == service })
			if i >= 0 {
				mu.Lock()
				defer mu.Unlock()
				found = append(found, leading{name, spec.Service.Routes[i].Name, spec.Service.Mesh})
			}
			return nil
		})
	}
	err = group.Wait()
	slices.SortFunc(found, func(a, b leading) int { return strings.Compare(a.service, b.service) })
	return found, err
}

// checkNoneLeads refuses to delete a service to which a route of another leads: Consul keeps
// the entries that such a route needs, and the route's callers would get no answer. All
// services of the route's namespace are the same owner's; see checkOther.
func (a *Admission) checkNoneLeads(ctx context.Context, service string) error {
	led, err := a.leadTo(ctx, service)
	if err != nil || len(led) == 0 {
		return err
	}
	more := ""
	if len(led) > 1 {
		more = ", and " + wadi.Quantity(len(led)-1, "other service") + " too"
	}
	return &api.Error{Status: http.StatusConflict, Message: fmt.Sprintf("the %s leads to %s%s; change that, or delete %s first", led[0], service, more, led[0].service)}
}
