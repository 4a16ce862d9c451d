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

// claimTries bounds how often a submission is repeated because a claim that it
// counted on changed in between.
const claimTries = 5

// claim is what is stored under a domain, or a tag's name: whose it is.
//
// It is written and removed in the transactions that store and forget its service,
// so that of two services that want it at the same moment one is refused. A claim is
// void when its service does not exist, or does not want it any more: another may
// take it over. Services that were stored before there were claims get theirs when
// they are next submitted.
type claim struct {
	Service string `json:"service"`
}

// held is a claim as it was read.
type held struct {
	service string
	index   uint64
}

// property is something of which each has at most one service.
type property struct {
	kind  kind
	of    func(wadi.Service) []string
	taken func(what, service, holder string) error
}

// domains are the services' own domains.
func domains() property {
	return property{kindDomain, func(s wadi.Service) []string { return s.Domains },
		func(what, service, holder string) error { return &DomainError{what, service, holder} }}
}

// tags are the names of tags, which no services have either.
func tags() property {
	return property{kindTag, tagNames,
		func(what, service, holder string) error { return &NameError{what, service, holder} }}
}

func tagNames(s wadi.Service) []string {
	var out []string
	for _, t := range s.Traffic {
		if t.Tag != "" {
			out = append(out, wadi.TagName(t.Tag, s.Name))
		}
	}
	return out
}

// DomainError says that another service has a domain. It is [wadi.ErrConflict].
type DomainError struct{ Domain, Service, Holder string }

func (e *DomainError) Error() string {
	return fmt.Sprintf("the domain %q belongs to the service %q: %v", e.Domain, e.Holder, wadi.ErrConflict)
}

// Unwrap makes it a conflict.
func (e *DomainError) Unwrap() error { return wadi.ErrConflict }

// NameError says that a name which Service would have, its own or a tag's, is that of
// Holder or of a tag of it. It is [wadi.ErrConflict].
type NameError struct{ Name, Service, Holder string }

func (e *NameError) Error() string {
	return fmt.Sprintf("the name %q belongs to the service %q: %v", e.Name, e.Holder, wadi.ErrConflict)
}

// Unwrap makes it a conflict.
func (e *NameError) Unwrap() error { return wadi.ErrConflict }

// claiming does ops and edits in one transaction with the changes of claims that
// the submissions need.
func (s *Store) claiming(ctx context.Context, all []Submission, ops []consul.Op, edits []edit) ([]consul.Pair, error) {
	for try := 1; ; try++ {
		whole := ops[:len(ops):len(ops)]
		for _, p := range []property{domains(), tags()} {
			claims, err := s.claims(ctx, p, all)
			if err != nil {
				return nil, err
			}
			whole = append(whole, claims...)
		}
		pairs, err := s.write(ctx, whole, edits)
		if err == nil || try == claimTries || !onlyFrom(err, len(ops)) {
			return pairs, err
		}
	}
}

// claims returns the operations that give each service what it wants of p and take
// from it what it does not want any more.
func (s *Store) claims(ctx context.Context, p property, all []Submission) ([]consul.Op, error) {
	now, err := s.held(ctx, p.kind)
	if err != nil {
		return nil, err
	}
	submitted, wanted, err := wants(p, all)
	if err != nil {
		return nil, err
	}
	var ops []consul.Op
	for _, d := range slices.Sorted(maps.Keys(now)) {
		if _, kept := wanted[d]; !kept && submitted[now[d].service] {
			ops = append(ops, consul.Op{Verb: consul.DeleteCAS, Key: s.key(p.kind, d), Index: now[d].index})
		}
	}
	for _, d := range slices.Sorted(maps.Keys(wanted)) {
		sub, h := wanted[d], now[d]
		name := sub.Spec.Service.Name
		if h.service == name && sub.Index != 0 {
			continue // Nobody takes it from a service that stays as it is stored.
		}
		if h.index != 0 && !submitted[h.service] {
			guard, err := s.void(ctx, p, d, name, h.service)
			if err != nil {
				return nil, err
			}
			ops = append(ops, guard)
		}
		if p.kind == kindTag {
			guard, err := s.noService(ctx, d, name, submitted)
			if err != nil {
				return nil, err
			}
			ops = append(ops, guard)
		}
		b, err := s.codec.encode(p.kind, claim{name})
		if err != nil {
			return nil, err
		}
		ops = append(ops, consul.Op{Verb: consul.CAS, Key: s.key(p.kind, d), Value: b, Index: h.index})
	}
	if p.kind == kindTag {
		guards, err := s.tagGuards(ctx, all, now, wanted)
		return append(ops, guards...), err
	}
	return ops, nil
}

// wants says who of the submitted wants what of p.
func wants(p property, all []Submission) (submitted map[string]bool, wanted map[string]Submission, err error) {
	submitted, wanted = map[string]bool{}, map[string]Submission{}
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
// [NameError] if one has it already.
func (s *Store) noService(ctx context.Context, tag, service string, submitted map[string]bool) (consul.Op, error) {
	_, _, err := s.Spec(ctx, tag)
	switch {
	case submitted[tag] || err == nil:
		return consul.Op{}, &NameError{Name: tag, Service: service, Holder: tag}
	case !errors.Is(err, wadi.ErrNotFound):
		return consul.Op{}, err
	}
	return consul.Op{Verb: consul.MustNotBe, Key: s.key(kindSpec, tag)}, nil
}

// tagGuards returns the operations that fail if the name of a new service becomes a
// tag's, or a [NameError] if it is one already. Only names with a dash can be.
func (s *Store) tagGuards(ctx context.Context, all []Submission, now map[string]held, wanted map[string]Submission) ([]consul.Op, error) {
	var ops []consul.Op
	for _, sub := range all {
		name := sub.Spec.Service.Name
		if sub.Index != 0 || !strings.Contains(name, "-") {
			continue
		}
		if w, ok := wanted[name]; ok {
			return nil, &NameError{Name: name, Service: name, Holder: w.Spec.Service.Name}
		}
		h, ok := now[name]
		if !ok {
			ops = append(ops, consul.Op{Verb: consul.MustNotBe, Key: s.key(kindTag, name)})
			continue
		}
		if slices.ContainsFunc(all, func(o Submission) bool { return o.Spec.Service.Name == h.service }) {
			continue // It gives the tag up in the same transaction.
		}
		guard, err := s.void(ctx, tags(), name, name, h.service)
		if err != nil {
			return nil, err
		}
		ops = append(ops, guard)
	}
	return ops, nil
}

// void returns the operation that fails unless the holder's claim is still void,
// or says that it is taken if it is not void at all.
func (s *Store) void(ctx context.Context, p property, what, service, holder string) (consul.Op, error) {
	spec, index, err := s.Spec(ctx, holder)
	key := s.key(kindSpec, holder)
	switch {
	case errors.Is(err, wadi.ErrNotFound):
		return consul.Op{Verb: consul.MustNotBe, Key: key}, nil
	case err != nil:
		return consul.Op{}, err
	case slices.Contains(p.of(spec.Service), what):
		return consul.Op{}, p.taken(what, service, holder)
	}
	return consul.Op{Verb: consul.MustBeAt, Key: key, Index: index}, nil
}

// held reads all claims of a kind, by what is claimed.
func (s *Store) held(ctx context.Context, k kind) (map[string]held, error) {
	prefix := s.key(k)
	pairs, err := s.kv.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	out := make(map[string]held, len(pairs))
	for _, p := range pairs {
		var c claim
		if err := s.decode(p, k, &c); err != nil {
			return nil, err
		}
		out[strings.TrimPrefix(p.Key, prefix)] = held{service: c.Service, index: p.Index}
	}
	return out, nil
}

// release returns the operations that remove a service's claims.
func (s *Store) release(ctx context.Context, service string) ([]consul.Op, error) {
	var ops []consul.Op
	for _, k := range []kind{kindDomain, kindTag} {
		now, err := s.held(ctx, k)
		if err != nil {
			return nil, err
		}
		for _, d := range slices.Sorted(maps.Keys(now)) {
			if now[d].service == service {
				ops = append(ops, consul.Op{Verb: consul.DeleteCAS, Key: s.key(k, d), Index: now[d].index})
			}
		}
	}
	return ops, nil
}
