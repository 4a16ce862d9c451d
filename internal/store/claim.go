package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// claimTries bounds the tries of a submission that conflicts with changes of claims that it
// relies on.
const claimTries = 5

// claim is the value under a domain or a tag's name: the service that has it.
//
// Claims are written and removed in the transactions that store and forget their service, so
// that of two services that want the same one at the same moment one is refused. Claims that
// exceed a transaction are made before it, and given up after it. A claim is void if its
// service does not exist or does not want it: another service may take it over. Services
// that were stored before there were claims get them with their next submission.
type claim struct {
	Service string `json:"service"`
}

// readClaim is a claim as it was read.
type readClaim struct {
	service string
	index   uint64
	err     error // Why it can't be decoded: its service is unknown.
}

// property is a kind of claim: of two services at most one can have the same.
type property struct {
	kind  kind
	of    func(wadi.Service) []string
	taken func(what, service, holder string) error
}

// domains are the domains of services.
func domains() property {
	return property{kindDomain, func(s wadi.Service) []string { return s.Domains },
		func(what, service, holder string) error {
			return &wadi.DomainTakenError{Domain: what, Service: service, Holder: holder}
		}}
}

// tags are the names of tags. No service has the name of a tag either.
func tags() property {
	return property{kindTag, tagNames,
		func(what, service, holder string) error {
			return &wadi.NameTakenError{Name: what, Service: service, Holder: holder}
		}}
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

// void returns the operation that fails unless the holder's claim is still void, or the
// error that it is taken if it is not void.
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

// readClaims reads all claims of a kind, by domain or name.
func (s *Store) readClaims(ctx context.Context, k kind) (map[string]readClaim, error) {
	prefix := s.key(k)
	pairs, err := s.kv.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	out := make(map[string]readClaim, len(pairs))
	for _, p := range pairs {
		var c claim
		err := s.decode(p, k, &c) // It matters to services that want this claim only.
		out[strings.TrimPrefix(p.Key, prefix)] = readClaim{service: c.Service, index: p.Index, err: err}
	}
	return out, nil
}

// release returns the operations that remove a service's claims.
func (s *Store) release(ctx context.Context, service string) ([]consul.Op, error) {
	var ops []consul.Op
	for _, k := range []kind{kindDomain, kindTag} {
		now, err := s.readClaims(ctx, k)
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
