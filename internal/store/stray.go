package store

import (
	"context"
	"slices"
	"strings"

	"github.com/wadi-run/wadi/internal/consul"
)

// Keys lists keys below a prefix, without their values.
type Keys interface {
	Keys(ctx context.Context, prefix string) ([]string, error)
}

var _ Keys = (*consul.Client)(nil)

// ofServices are the kinds whose keys have the service's name after the kind.
func ofServices() []kind {
	return []kind{kindRoute, kindSpec, kindRevision, kindState, kindStatus, kindOverride, kindMark, kindLoad}
}

// Stray returns the keys below the prefix that belong to no stored service, sorted, and the
// names of all services. Keys of unknown kinds are not stray: a newer Wadi may have
// written them.
func (s *Store) Stray(ctx context.Context, kv Keys) (stray, services []string, err error) {
	all, err := kv.Keys(ctx, s.prefix)
	if err != nil {
		return nil, nil, err
	}
	stored := map[string]bool{}
	for _, key := range all {
		if name, ok := strings.CutPrefix(key, s.key(kindIndex)); ok {
			stored[name] = true
			services = append(services, name)
		}
	}
	for _, key := range all {
		if name, ok := s.serviceOf(key); ok && !stored[name] {
			stray = append(stray, key)
		}
	}
	claims, err := s.strayClaims(ctx, stored)
	stray = append(stray, claims...)
	slices.Sort(stray)
	return stray, services, err
}

// serviceOf is the service that a key belongs to by its name.
func (s *Store) serviceOf(key string) (name string, ok bool) {
	for _, k := range ofServices() {
		if rest, is := strings.CutPrefix(key, s.key(k)); is {
			name, _, _ = strings.Cut(rest, "/")
			return name, name != ""
		}
	}
	return "", false
}

// strayClaims are the claims of domains and tags whose service is not stored.
func (s *Store) strayClaims(ctx context.Context, stored map[string]bool) (stray []string, err error) {
	for _, k := range []kind{kindDomain, kindTag} {
		pairs, err := s.kv.List(ctx, s.key(k))
		if err != nil {
			return nil, err
		}
		for _, p := range pairs {
			var c claim
			if s.decode(p, k, &c) == nil && !stored[c.Service] { // One that can't be decoded is another's.
				stray = append(stray, p.Key)
			}
		}
	}
	return stray, nil
}
