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

// claimTries bounds how often a submission is repeated because a claim that it
// counted on changed in between.
const claimTries = 5

// claim is what is stored under a domain, or a tag's name: whose it is.
//
// It is written and removed in the transactions that store and forget its service,
// so that of two services that want it at the same moment one is refused; what is too
// much for one transaction is claimed before, and given up after. A claim is void when
// its service does not exist, or does not want it: another may take it over. Services that were stored before there were claims get theirs when
// they are next submitted.
type claim struct {
	Service string `json:"service"`
}

// held is a claim as it was read.
type held struct {
	service string
	index   uint64
	err     error // Why it can't be read: whose it is is not known.
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
		func(what, service, holder string) error {
			return &wadi.DomainTakenError{Domain: what, Service: service, Holder: holder}
		}}
}

// tags are the names of tags, which no services have either.
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
		err := s.decode(p, k, &c) // Matters to who wants it alone.
		out[strings.TrimPrefix(p.Key, prefix)] = held{service: c.Service, index: p.Index, err: err}
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
