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

// claims are the operations on claims that submissions need.
type claims struct {
	guards []consul.Op // Checks in the transaction of the specs.
	take   []step      // Claims that no submitted service has. They are void until the specs are written.
	move   []consul.Op // From one submitted service to another, in the transaction of the specs.
	drop   []step      // Claims that are given up.

	// takeover is the index of the key that every takeover of a void claim writes; 0:
	// there is none. A submission that relies on its own claims while they are void
	// checks it.
	takeover  uint64
	takesOver bool // A void claim is taken over.

	stored map[string]wadi.Service // Submitted services as they are stored, where they were read.
}

// step is one operation on a claim.
type step struct {
	op      consul.Op
	guards  []consul.Op // Checks in the same transaction.
	service string      // The claim's service, before or after.
	fresh   bool        // The service did not have the claim.
	void    bool        // Another service had it.
}

// takeoverKey is the key that every takeover of a void claim writes.
func (s *Store) takeoverKey() string { return s.prefix + "takeover" }

// claims finds the operations that the submissions need, or the error that another service
// has a domain or a name.
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

// claimsOf adds the operations on one kind of claims to c.
func (s *Store) claimsOf(ctx context.Context, p property, all []wadi.Submission, c *claims) error {
	now, err := s.readClaims(ctx, p.kind)
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

// claimOne adds the operations to c by which one submission gets one claim.
func (s *Store) claimOne(ctx context.Context, p property, what string, sub wadi.Submission, h readClaim, submitted map[string]bool, c *claims) error {
	name := sub.Spec.Service.Name
	if h.err != nil {
		return fmt.Errorf("%s: the holder of %s can't be read: %w", name, what, h.err)
	}
	if h.service == name && sub.Index != 0 && slices.Contains(p.of(s.asStored(ctx, name, c)), what) {
		return nil // No other service can take it while the service is as it is stored.
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
		st.guards, st.void, c.takesOver = append(st.guards, guard), true, true
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

// asStored is a service as it is stored, read once. Its claims that it does not want are
// void, and another submission of it may be giving them up: they are claimed again.
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

// wants returns the submitted services, and the submission that wants each claim of p.
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

// noService returns the operation that fails if a service has the name of a tag, or a
// [*wadi.NameTakenError] if one has it now.
func (s *Store) noService(ctx context.Context, tag, service string, submitted map[string]bool) (consul.Op, error) {
	key := s.key(kindSpec, tag)
	if !submitted[tag] {
		_, err := s.kv.Get(ctx, key) // Its existence matters, not its value.
		if errors.Is(err, wadi.ErrNotFound) {
			return consul.Op{Verb: consul.MustNotBe, Key: key}, nil
		}
		if err != nil {
			return consul.Op{}, err
		}
	}
	return consul.Op{}, &wadi.NameTakenError{Name: tag, Service: service, Holder: tag}
}

// tagGuards adds the checks to c that the name of a new service does not become that of a
// tag, or returns a [*wadi.NameTakenError] if it is one now. Only names with a dash can be.
func (s *Store) tagGuards(ctx context.Context, all []wadi.Submission, now map[string]readClaim, wanted map[string]wadi.Submission, c *claims) error {
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
			return fmt.Errorf("%s: the tag with that name can't be read: %w", name, h.err)
		}
		if slices.ContainsFunc(all, func(o wadi.Submission) bool { return o.Spec.Service.Name == h.service }) {
			continue // The tag is given up in the same submission.
		}
		guard, err := s.void(ctx, tags(), name, name, h.service)
		if err != nil {
			return err
		}
		c.guards, c.takesOver = append(c.guards, guard), true
	}
	return nil
}
