package admission

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// maxDomains bounds the domains of one service: all that changes of a submission
// goes into one transaction of the store.
const maxDomains = 32

// checkDomains refuses domains that another service has, or that are kept for one.
// Of two submissions at the same moment both may pass; the store then refuses one.
func (a *Admission) checkDomains(ctx context.Context, adm *admitted, refused *refusals) error {
	all := adm.candidates
	if !slices.ContainsFunc(all, func(c *candidate) bool { return len(c.service.Domains) > 0 }) {
		return nil
	}
	owners, err := a.Store.Domains(ctx)
	if err != nil {
		return fmt.Errorf("read domains: %w", err)
	}
	owners = maps.Clone(owners)
	for _, c := range all {
		// What this submission gives up is free for the others in it.
		maps.DeleteFunc(owners, func(_, owner string) bool { return owner == c.service.Name })
	}
	for _, c := range all {
		if n := len(c.service.Domains); n > maxDomains {
			refused.invalid(c, "domains", "%d domains, at most %d may be; make several services of it", n, maxDomains)
			continue
		}
		for _, domain := range c.service.Domains {
			if owner, ok := owners[domain]; ok {
				refused.invalid(c, "domains", "the domain %q belongs to %s", domain, a.sayHolder(ctx, adm, claim{service: owner}))
			} else if why := a.kept(c.service.Name, domain); why != "" {
				refused.invalid(c, "domains", "%s", why)
			}
		}
	}
	return nil
}

// kept says why a service can't have a domain that nobody has. Below the gateway's
// domain services and their tags have their names, those to come as well.
func (a *Admission) kept(service, domain string) string {
	label, below := strings.CutSuffix(domain, "."+a.GatewayDomain)
	switch {
	case !below || a.GatewayDomain == "" || label == service:
		return ""
	case strings.Contains(label, "."):
		return fmt.Sprintf("the domain %q is below %s, the gateway's own, where only names of services are", domain, a.GatewayDomain)
	}
	return fmt.Sprintf("the domain %q is kept for a service named %q", domain, label)
}

// sayHolder says who has a name, to who may know: services of namespaces to which this
// submission may go are named, others are not.
func (a *Admission) sayHolder(ctx context.Context, adm *admitted, holder claim) string {
	spec, _, err := a.Store.Spec(ctx, holder.service)
	if err != nil || !adm.permitted[spec.Service.Namespace] {
		return "a service in another Nomad namespace"
	}
	return holder.String()
}

// takenSince makes a refusal at the user's line of a domain or a name that the store
// refused, as another submission was faster. It returns nil for other errors.
func (a *Admission) takenSince(ctx context.Context, err error, adm *admitted, all []*candidate) error {
	var domain *wadi.DomainTakenError
	var name *wadi.NameTakenError
	var refused refusals
	switch {
	case errors.As(err, &domain):
		for _, c := range all {
			if c.service.Name == domain.Service {
				refused.clash(c, "domains", "the domain %q belongs to %s, which was stored in the meantime", domain.Domain, a.sayHolder(ctx, adm, claim{service: domain.Holder}))
			}
		}
	case errors.As(err, &name):
		for _, c := range all {
			if c.service.Name == name.Service {
				refused.clash(c, pathOfName(c.service, name.Name), "the name %q belongs to %s or a tag of it, which was stored in the meantime", name.Name, a.sayHolder(ctx, adm, claim{service: name.Holder}))
			}
		}
	}
	return refused.err()
}

// pathOfName is the setting from which a service has a name: its own, or a tag's.
func pathOfName(s wadi.Service, name string) string {
	for i, t := range s.Traffic {
		if t.Tag != "" && wadi.TagName(t.Tag, s.Name) == name {
			return jobspecs.TrafficPath(i) + ".tag"
		}
	}
	return "name"
}
