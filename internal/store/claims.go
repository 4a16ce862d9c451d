package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// claims is what submissions need of claims.
type claims struct {
	guards []consul.Op // Hold when the specs are written.
	take   []step      // Of what no other of the submitted has. Void, if the specs are not written.
	move   []consul.Op // From one of the submitted to another: with the specs.
	drop   []step      // Not wanted any more.

	// takeover is the index of the key that every takeover of a void claim writes; 0:
	// there is none. Who counts on claims that are void as yet, its own, checks it.
	takeover uint64
	takes    bool // Something void is taken over.

	stored map[string]wadi.Service // Of the submitted, as far as that matters.
}

// step is one operation on a claim.
type step struct {
	op      consul.Op
	guards  []consul.Op // What else must hold.
	service string      // Whose claim it is, before or after.
	fresh   bool        // The service did not have it.
	void    bool        // Another did.
}

// takeoverKey is written whenever a void claim is taken over.
func (s *Store) takeoverKey() string { return s.prefix + "takeover" }

// claims finds what the submissions need, or says what they can't have.
func (s *Store) claims(ctx context.Context, all []wadi.Submission) (*claims, error) {
	c := &claims{stored: map[string]wadi.Service{}}
	switch p, err := s.kv.Get(ctx, s.takeoverKey()); {
	case err == nil:
		c.takeover = p.Index
	case !errors.Is(err, wadi.ErrNotFound):
		return nil, err
	}
	for _, p := range []property{domains(), tags()} {
		if err := s.claimsOf(ctx, p, all, c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (s *Store) claimsOf(ctx context.Context, p property, all []wadi.Submission, c *claims) error {
	now, err := s.held(ctx, p.kind)
	if err != nil {
		return err
	}
	submitted, wanted, err := wants(p, all)
	if err != nil {
		return err
	}
	for _, d := range slices.Sorted(maps.Keys(now)) {
		if _, kept := wanted[d]; !kept && submitted[now[d].service] {
			op := consul.Op{Verb: consul.DeleteCAS, Key: s.key(p.kind, d), Index: now[d].index}
			c.drop = append(c.drop, step{op: op, service: now[d].service})
		}
	}
	for _, d := range slices.Sorted(maps.Keys(wanted)) {
		if err := s.claimOne(ctx, p, d, wanted[d], now[d], submitted, c); err != nil {
			return err
		}
	}
	if p.kind == kindTag {
		return s.tagGuards(ctx, all, now, wanted, c)
	}
	return nil
}

// claimOne finds what one submission needs to have one claim.
func (s *Store) claimOne(ctx context.Context, p property, what string, sub wadi.Submission, h held, submitted map[string]bool, c *claims) error {
	name := sub.Spec.Service.Name
	if h.err != nil {
		return fmt.Errorf("%s: whose %s is can't be read: %w", name, what, h.err)
	}
	if h.service == name && sub.Index != 0 && slices.Contains(p.of(s.asStored(ctx, name, c)), what) {
		return nil // Nobody takes it from a service that stays as it is stored.
	}
	b, err := s.codec.encode(p.kind, claim{name})
	if err != nil {
		return err
	}
	st := step{
		op:      consul.Op{Verb: consul.CAS, Key: s.key(p.kind, what), Value: b, Index: h.index},
		service: name, fresh: h.service != name,
	}
	if h.index != 0 && !submitted[h.service] {
		guard, err := s.void(ctx, p, what, name, h.service)
		if err != nil {
			return err
		}
		st.guards, st.void, c.takes = append(st.guards, guard), true, true
	}
	if p.kind == kindTag {
		guard, err := s.noService(ctx, what, name, submitted)
		if err != nil {
			return err
		}
		st.guards = append(st.guards, guard)
	}
	if h.index != 0 && submitted[h.service] && h.service != name {
		c.guards, c.move = append(c.guards, st.guards...), append(c.move, st.op)
		return nil
	}
	c.take = append(c.take, st)
	return nil
}

// asStored is a service as it is stored, read once. What it has claimed and does not want
// is void, and may be given up just now by another submission of it: it is claimed again.
func (s *Store) asStored(ctx context.Context, service string, c *claims) wadi.Service {
	if svc, ok := c.stored[service]; ok {
		return svc
	}
	spec, _, err := s.Spec(ctx, service)
	if err != nil {
		return wadi.Service{}
	}
	c.stored[service] = spec.Service
	return spec.Service
}

// wants says who of the submitted wants what of p.
func wants(p property, all []wadi.Submission) (submitted map[string]bool, wanted map[string]wadi.Submission, err error) {
	submitted, wanted = map[string]bool{}, map[string]wadi.Submission{}
	for _, sub := range all {
		submitted[sub.Spec.Service.Name] = true
		for _, d := range p.of(sub.Spec.Service) {
			if first, ok := wanted[d]; ok && first.Spec.Service.Name != sub.Spec.Service.Name {
				return nil, nil, p.taken(d, sub.Spec.Service.Name, first.Spec.Service.Name)
			}
			wanted[d] = sub
		}
	}
	return submitted, wanted, nil
}

// noService returns the operation that fails if a service has a tag's name, or a
// [wadi.NameTakenError] if one has it already.
func (s *Store) noService(ctx context.Context, tag, service string, submitted map[string]bool) (consul.Op, error) {
	key := s.key(kindSpec, tag)
	if !submitted[tag] {
		_, err := s.kv.Get(ctx, key) // Who is there, not what.
		if errors.Is(err, wadi.ErrNotFound) {
			return consul.Op{Verb: consul.MustNotBe, Key: key}, nil
		}
		if err != nil {
			return consul.Op{}, err
		}
	}
	return consul.Op{}, &wadi.NameTakenError{Name: tag, Service: service, Holder: tag}
}

// tagGuards finds what must hold so that the name of a new service does not become a
// tag's, or a [wadi.NameTakenError] if it is one already. Only names with a dash can be.
func (s *Store) tagGuards(ctx context.Context, all []wadi.Submission, now map[string]held, wanted map[string]wadi.Submission, c *claims) error {
	for _, sub := range all {
		name := sub.Spec.Service.Name
		if sub.Index != 0 || !strings.Contains(name, "-") {
			continue
		}
		if w, ok := wanted[name]; ok {
			return &wadi.NameTakenError{Name: name, Service: name, Holder: w.Spec.Service.Name}
		}
		h, ok := now[name]
		switch {
		case !ok:
			c.guards = append(c.guards, consul.Op{Verb: consul.MustNotBe, Key: s.key(kindTag, name)})
			continue
		case h.err != nil:
			return fmt.Errorf("%s: whose tag has that name can't be read: %w", name, h.err)
		}
		if slices.ContainsFunc(all, func(o wadi.Submission) bool { return o.Spec.Service.Name == h.service }) {
			continue // It gives the tag up in the same submission.
		}
		guard, err := s.void(ctx, tags(), name, name, h.service)
		if err != nil {
			return err
		}
		c.guards, c.takes = append(c.guards, guard), true
	}
	return nil
}
