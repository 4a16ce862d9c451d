package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// checkTraffic refuses targets that name a revision that there is not. What is
// stored was good when it was submitted: if it is no longer, that is a warning. One
// that has failed is no mistake: it is tried again.
func (a *Admission) checkTraffic(ctx context.Context, c *candidate, kept bool, revisions []wadi.Revision, refused *refusals) error {
	if !slices.ContainsFunc(c.service.Traffic, func(t wadi.TrafficTarget) bool { return t.Revision != wadi.Latest }) {
		return nil
	}
	state, err := a.Store.State(ctx, c.service.Name)
	if err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return fmt.Errorf("read state of %s: %w", c.service.Name, err)
	}
	for i, t := range c.service.Traffic {
		why := ""
		known := slices.ContainsFunc(revisions, func(r wadi.Revision) bool { return r.ID == t.Revision })
		switch {
		case t.Revision == wadi.Latest:
		case !c.exists:
			why = fmt.Sprintf("there is no revision %q yet, the service is new; write revision = \"latest\"", t.Revision)
		case c.rev != nil && t.Revision == c.rev.ID: // This submission makes it.
		case !known:
			why = fmt.Sprintf("there is no revision %q; there are: %s", t.Revision, choices(c, revisions, state))
		}
		switch {
		case why == "":
		case kept:
			c.warnings = append(c.warnings, "traffic: what is stored stays, but "+why)
		default:
			refused.invalid(c, jobspecs.TrafficPath(i)+".revision", "%s", why)
		}
	}
	return nil
}

// shownRevisions is how many revisions a message names.
const shownRevisions = 8

// choices names the revisions that may have traffic, the newest first.
func choices(c *candidate, revisions []wadi.Revision, state wadi.State) string {
	names := []string{wadi.Latest}
	if c.rev != nil {
		names = append(names, c.rev.ID)
	}
	revisions = slices.SortedFunc(slices.Values(revisions), func(a, b wadi.Revision) int { return b.Number - a.Number })
	for _, r := range revisions {
		if state.Revisions[r.ID].Phase != wadi.Failed {
			names = append(names, r.ID)
		}
	}
	if more := len(names) - shownRevisions; more > 0 {
		names = append(names[:shownRevisions], "and "+wadi.Quantity(more, "older one"))
	}
	return strings.Join(names, ", ")
}

// claim is a name that a service has in the mesh and at the gateway: its own, or a tag's.
type claim struct {
	service string
	tag     string // Empty: the service's own name.
}

// String is, for instance, `tag "canary" of the service "hello"`.
func (c claim) String() string {
	if c.tag == "" {
		return fmt.Sprintf("the service %q", c.service)
	}
	return fmt.Sprintf("tag %q of the service %q", c.tag, c.service)
}

// names finds who has a name.
type names struct {
	store     Store
	stored    map[string]bool  // Services that are stored and not in the submission.
	submitted map[string]claim // Names that this submission claims.
	tags      map[claim]bool   // Those of the stored services that were read.
	read      map[string]bool
}

// checkNames refuses a tag whose name, such as canary-hello, is another service's or
// another tag's, and a new service whose name is a tag's. Of two submissions at the
// same moment both may pass; the store then refuses one.
func (a *Admission) checkNames(ctx context.Context, adm *admitted, refused *refusals) error {
	all := adm.candidates
	if !slices.ContainsFunc(all, func(c *candidate) bool { return !c.exists || tagged(c.service) }) {
		return nil
	}
	n := names{store: a.Store, stored: map[string]bool{}, submitted: map[string]claim{}, tags: map[claim]bool{}, read: map[string]bool{}}
	stored, err := a.Store.Services(ctx)
	if err != nil {
		return fmt.Errorf("list services: %w", err)
	}
	for _, name := range stored {
		n.stored[name] = true
	}
	for _, c := range all {
		delete(n.stored, c.service.Name)
		n.submitted[c.service.Name] = claim{service: c.service.Name}
	}
	for _, c := range all {
		if !c.exists {
			holder, err := n.holder(ctx, c.service.Name)
			if err != nil {
				return err
			}
			if holder != (claim{}) {
				refused.invalid(c, "name", "the name %q is that of %s; choose another one", c.service.Name, a.sayHolder(ctx, adm, holder))
			}
		}
		for i, t := range c.service.Traffic {
			if t.Tag == "" {
				continue
			}
			if err := a.checkTagName(ctx, c, jobspecs.TrafficPath(i)+".tag", t.Tag, &n, adm, refused); err != nil {
				return err
			}
		}
	}
	return nil
}

func tagged(s wadi.Service) bool {
	return slices.ContainsFunc(s.Traffic, func(t wadi.TrafficTarget) bool { return t.Tag != "" })
}

func (a *Admission) checkTagName(ctx context.Context, c *candidate, path, tag string, n *names, adm *admitted, refused *refusals) error {
	name, own := wadi.TagName(tag, c.service.Name), claim{c.service.Name, tag}
	if other, taken := n.submitted[name]; taken {
		refused.invalid(c, path, "the tag's name %q is that of %s, in the same submission; use another tag", name, other)
		return nil
	}
	n.submitted[name] = own
	if had := slices.ContainsFunc(c.stored.Service.Traffic, func(t wadi.TrafficTarget) bool { return t.Tag == tag }); had {
		return nil
	}
	holder, err := n.holder(ctx, name)
	if err != nil {
		return err
	}
	if holder != (claim{}) {
		refused.invalid(c, path, "the tag's name %q is that of %s; use another tag", name, a.sayHolder(ctx, adm, holder))
		return nil
	}
	if c.service.Mesh != wadi.MeshEnvoy {
		return nil
	}
	foreign, err := a.Catalog.ForeignService(ctx, name)
	if err != nil {
		return fmt.Errorf("look for %s in Consul: %w", name, err)
	}
	if foreign != "" {
		refused.invalid(c, path, "the tag's name is %q, and Consul has a %s of that name that isn't Wadi's; use another tag, or delete that", name, foreign)
	}
	return nil
}

// holder returns which stored service, or tag of one, has the name.
func (n *names) holder(ctx context.Context, name string) (claim, error) {
	if n.stored[name] {
		return claim{service: name}, nil
	}
	for i := range len(name) {
		if name[i] != '-' || !n.stored[name[i+1:]] {
			continue
		}
		tag := claim{service: name[i+1:], tag: name[:i]}
		if err := n.readTags(ctx, tag.service); err != nil {
			return claim{}, err
		}
		if n.tags[tag] {
			return tag, nil
		}
	}
	return claim{}, nil
}

func (n *names) readTags(ctx context.Context, service string) error {
	if n.read[service] {
		return nil
	}
	spec, _, err := n.store.Spec(ctx, service)
	if err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return fmt.Errorf("read service %s: %w", service, err)
	}
	for _, t := range spec.Service.Traffic {
		n.tags[claim{service, t.Tag}] = t.Tag != ""
	}
	n.read[service] = true
	return nil
}
