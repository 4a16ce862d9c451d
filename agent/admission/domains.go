package admission

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
)

// maxDomains bounds the domains of one service: a submission is stored in one transaction.
const maxDomains = 32

// checkDomains refuses domains that another service has, or that are reserved for one. Two
// submissions at the same moment may both pass; the store then refuses one.
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
		// Domains that this submission frees are free for all its services.
		maps.DeleteFunc(owners, func(_, owner string) bool { return owner == c.service.Name })
	}
	submitted := map[string]string{} // Services by domain: a webhook may have given two the same.
	for _, c := range all {
		if n := len(c.service.Domains); n > maxDomains {
			refused.invalid(c, "domains", "%d domains, at most %d may be; make several services of it", n, maxDomains)
			continue
		}
		for _, domain := range c.service.Domains {
			first, twice := submitted[domain]
			submitted[domain] = c.service.Name
			if twice {
				refused.invalid(c, "domains", "the domain %q is that of service %q in the same submission", domain, first)
			} else if owner, ok := owners[domain]; ok {
				refused.invalid(c, "domains", "the domain %q belongs to %s", domain, a.describeHolder(ctx, adm, claim{service: owner}))
			} else if why := a.reserved(c.service.Name, domain); why != "" {
				refused.invalid(c, "domains", "%s", why)
			}
		}
	}
	return nil
}

// reserved is the reason why a service can't have a free domain; empty: it can. The names
// below the gateway's domain are reserved for services and tags of these names, future
// ones included.
func (a *Admission) reserved(service, domain string) string {
	label, below := strings.CutSuffix(domain, "."+a.GatewayDomain)
	switch {
	case !below || a.GatewayDomain == "" || label == service:
		return ""
	case strings.Contains(label, "."):
		return fmt.Sprintf("the domain %q is below %s, the gateway's own, where only names of services are", domain, a.GatewayDomain)
	}
	return fmt.Sprintf("the domain %q is kept for a service named %q", domain, label)
}

// describeHolder describes the holder of a name. It names only services of namespaces to
// which the caller may submit.
func (a *Admission) describeHolder(ctx context.Context, adm *admitted, holder claim) string {
	spec, _, err := a.Store.Spec(ctx, holder.service)
	if err != nil || !adm.permitted[spec.Service.Namespace] {
		return "a service in another Nomad namespace"
	}
	return holder.String()
}

// takenSince turns the store's refusal of a domain or a name into a refusal at the user's
// line: another submission was faster. It returns nil for other errors.
func (a *Admission) takenSince(ctx context.Context, err error, adm *admitted, all []*candidate) error {
	var domain *wadi.DomainTakenError
	var name *wadi.NameTakenError
	var refused refusals
	switch {
	case errors.As(err, &domain):
		for _, c := range all {
			if c.service.Name == domain.Service {
				refused.clash(c, "domains", "the domain %q belongs to %s, which was stored in the meantime", domain.Domain, a.describeHolder(ctx, adm, claim{service: domain.Holder}))
			}
		}
	case errors.As(err, &name):
		for _, c := range all {
			if c.service.Name == name.Service {
				refused.clash(c, c.pathOfName(name.Name), "the name %q belongs to %s or a tag of it, which was stored in the meantime", name.Name, a.describeHolder(ctx, adm, claim{service: name.Holder}))
			}
		}
	}
	return refused.err()
}

// pathOfName is the setting that gives a service a name: its own, or a tag's.
func (c *candidate) pathOfName(name string) string {
	for i, t := range c.service.Traffic {
		if t.Tag != "" && wadi.TagName(t.Tag, c.service.Name) == name {
			return c.targetPath(i) + ".tag"
		}
	}
	return "name"
}
