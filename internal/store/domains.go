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

// claim is what is stored under a domain: whose it is.
//
// It is written and removed in the transactions that store and forget its service,
// so that of two services that want a domain at the same moment one is refused. A
// claim is void when its service does not exist, or does not want the domain any
// more: another may take it over. Services that were stored before there were
// claims get theirs when they are next submitted.
type claim struct {
	Service string `json:"service"`
}

// held is a claim as it was read.
type held struct {
	service string
	index   uint64
}

// DomainError says that another service has a domain. It is [wadi.ErrConflict].
type DomainError struct{ Domain, Service, Holder string }

func (e *DomainError) Error() string {
	return fmt.Sprintf("the domain %q belongs to the service %q: %v", e.Domain, e.Holder, wadi.ErrConflict)
}

// Unwrap makes it a conflict.
func (e *DomainError) Unwrap() error { return wadi.ErrConflict }

// claiming does ops and edits in one transaction with the changes of claims that
// the submissions need.
func (s *Store) claiming(ctx context.Context, all []Submission, ops []consul.Op, edits []edit) ([]consul.Pair, error) {
	for try := 1; ; try++ {
		claims, err := s.claims(ctx, all)
		if err != nil {
			return nil, err
		}
		pairs, err := s.write(ctx, slices.Concat(ops, claims), edits)
		if err == nil || try == claimTries || !onlyFrom(err, len(ops)) {
			return pairs, err
		}
	}
}

// claims returns the operations that give each service its domains and take from
// it what it does not want any more.
func (s *Store) claims(ctx context.Context, all []Submission) ([]consul.Op, error) {
	now, err := s.held(ctx)
	if err != nil {
		return nil, err
	}
	submitted, wanted := map[string]bool{}, map[string]Submission{}
	for _, sub := range all {
		submitted[sub.Spec.Service.Name] = true
		for _, d := range sub.Spec.Service.Domains {
			if first, ok := wanted[d]; ok && first.Spec.Service.Name != sub.Spec.Service.Name {
				return nil, &DomainError{Domain: d, Service: sub.Spec.Service.Name, Holder: first.Spec.Service.Name}
			}
			wanted[d] = sub
		}
	}
	var ops []consul.Op
	for _, d := range slices.Sorted(maps.Keys(now)) {
		if _, kept := wanted[d]; !kept && submitted[now[d].service] {
			ops = append(ops, consul.Op{Verb: consul.DeleteCAS, Key: s.key(kindDomain, d), Index: now[d].index})
		}
	}
	for _, d := range slices.Sorted(maps.Keys(wanted)) {
		sub, h := wanted[d], now[d]
		name := sub.Spec.Service.Name
		if h.service == name && sub.Index != 0 {
			continue // Nobody takes it from a service that stays as it is stored.
		}
		if h.index != 0 && !submitted[h.service] {
			guard, err := s.void(ctx, d, name, h.service)
			if err != nil {
				return nil, err
			}
			ops = append(ops, guard)
		}
		b, err := s.codec.encode(kindDomain, claim{name})
		if err != nil {
			return nil, err
		}
		ops = append(ops, consul.Op{Verb: consul.CAS, Key: s.key(kindDomain, d), Value: b, Index: h.index})
	}
	return ops, nil
}

// void returns the operation that fails unless the holder's claim is still void,
// or a [DomainError] if it is not void at all.
func (s *Store) void(ctx context.Context, domain, service, holder string) (consul.Op, error) {
	spec, index, err := s.Spec(ctx, holder)
	key := s.key(kindSpec, holder)
	switch {
	case errors.Is(err, wadi.ErrNotFound):
		return consul.Op{Verb: consul.MustNotBe, Key: key}, nil
	case err != nil:
		return consul.Op{}, err
	case slices.Contains(spec.Service.Domains, domain):
		return consul.Op{}, &DomainError{Domain: domain, Service: service, Holder: holder}
	}
	return consul.Op{Verb: consul.MustBeAt, Key: key, Index: index}, nil
}

// held reads all claims, by domain.
func (s *Store) held(ctx context.Context) (map[string]held, error) {
	prefix := s.key(kindDomain)
	pairs, err := s.kv.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	out := make(map[string]held, len(pairs))
	for _, p := range pairs {
		var c claim
		if err := s.decode(p, kindDomain, &c); err != nil {
			return nil, err
		}
		out[strings.TrimPrefix(p.Key, prefix)] = held{service: c.Service, index: p.Index}
	}
	return out, nil
}

// release returns the operations that remove a service's claims.
func (s *Store) release(ctx context.Context, service string) ([]consul.Op, error) {
	now, err := s.held(ctx)
	if err != nil {
		return nil, err
	}
	var ops []consul.Op
	for _, d := range slices.Sorted(maps.Keys(now)) {
		if now[d].service == service {
			ops = append(ops, consul.Op{Verb: consul.DeleteCAS, Key: s.key(kindDomain, d), Index: now[d].index})
		}
	}
	return ops, nil
}
