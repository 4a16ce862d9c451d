package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wadi-run/wadi"
)

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

// names finds the holder of a name.
type names struct {
	store     Store
	stored    map[string]bool  // Services that are stored and not in the submission.
	submitted map[string]claim // Names that this submission claims.
	tags      map[claim]bool   // Tags of the stored services in read.
	read      map[string]bool
}

// checkNames refuses a tag with a name, such as canary-hello, of another service or tag, and
// a new service with the name of a tag. Two submissions at the same moment may both pass;
// the store then refuses one.
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
	if err := a.checkNumber(all, len(stored)); err != nil {
		return err
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
				refused.invalid(c, "name", "the name %q is that of %s; choose another one", c.service.Name, a.describeHolder(ctx, adm, holder))
			}
		}
		for i, t := range c.service.Traffic {
			if t.Tag == "" {
				continue
			}
			if err := a.checkTagName(ctx, c, c.targetPath(i)+".tag", t.Tag, &n, adm, refused); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkNumber refuses new services beyond the installation's bound. Submissions at the same
// moment, of which one agent evaluates a few, may exceed it together.
func (a *Admission) checkNumber(all []*candidate, stored int) error {
	made := 0
	for _, c := range all {
		if !c.exists {
			made++
		}
	}
	if made == 0 || stored+made <= a.MaxServices {
		return nil
	}
	return fmt.Errorf("%w: there would be %s, and limits.max_services of the agent is %d; delete services that nobody needs, or raise it",
		wadi.ErrTooLarge, wadi.Quantity(stored+made, "service"), a.MaxServices)
}

// tagged reports whether a service has tags.
func tagged(s wadi.Service) bool {
	return slices.ContainsFunc(s.Traffic, func(t wadi.TrafficTarget) bool { return t.Tag != "" })
}

// checkTagName refuses the name of one tag of a candidate.
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
		refused.invalid(c, path, "the tag's name %q is that of %s; use another tag", name, a.describeHolder(ctx, adm, holder))
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
		refused.invalid(c, path, "the tag's name is %q, and Consul has a %s of that name that is not managed by Wadi; use another tag, or delete that", name, foreign)
	}
	return nil
}

// holder returns the stored service or tag that has the name; the zero value: none.
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

// readTags reads the tags of a stored service once.
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
