// Package store keeps what was submitted, and what the leader remembers of it,
// in Consul's key-value store.
//
// It promises that every write is check-and-set, that values that depend on each other
// are written in one transaction (claims of domains and tags that exceed its size are
// made before it and given up after it), that a value of a newer Wadi is refused and never
// misread, and that an unreadable value does not affect the others. It refuses to decide
// anything: its callers know which revision is the latest and which may be deleted.
//
// Keys under the prefix:
//
//	index/<service>                generation and a hash of spec, revisions and route; watched
//	route/<service>                abstract route; watched by every agent
//	spec/<service>                 spec and source text
//	revision/<service>/<revision>  immutable: spec and frozen job
//	state/<service>                the leader's memory
//	status/<service>               the service as the leader last saw it
//	override/<service>             counts that callers asked for, for a time
//	mark/<service>                 what callers want of single revisions
//	load/<service>                 the load of its last day by minute
//	domain/<host>                  the service that has the domain
//	tag/<name>                     the service that has the tag of that name, such as canary-hello
//	certificate/<host>             the certificate of a domain, with its key
//	order/<host>                   how obtaining it goes
//	challenge/<host>               what the authority is answered while it does
//	account/<hash>                 the account at the authority with this directory
//	events/<0 to 15>               the latest events, a ring of chunks
//	takeover                       written when a void claim of a domain or a tag is taken over
//
// State, status and load have no hash in the index: the leader alone writes them, and
// would wake itself by every write. Nor have certificates and what belongs to them.
package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// KV is the part of Consul that the store needs.
type KV interface {
	Get(ctx context.Context, key string) (consul.Pair, error)
	List(ctx context.Context, prefix string) ([]consul.Pair, error)
	WaitList(ctx context.Context, prefix string, index uint64) ([]consul.Pair, uint64, error)
	WaitChange(ctx context.Context, prefix string, index uint64) (uint64, error)
	Txn(ctx context.Context, ops []consul.Op) ([]consul.Pair, error)
}

var _ KV = (*consul.Client)(nil)

// Index is the entry of a service that watchers compare to find changes.
type Index struct {
	Generation uint64            `json:"generation"`
	Spec       string            `json:"spec"` // Hash.
	Revisions  map[string]string `json:"revisions,omitempty"`
	Route      string            `json:"route,omitempty"`    // Hash; empty: there is none.
	Override   string            `json:"override,omitempty"` // Hash; empty: there was never one.
	Marks      string            `json:"marks,omitempty"`    // Hash; empty: there was never one.
	Domains    []string          `json:"domains,omitempty"`

	// Assets are the programs that agents serve for revisions, by the revision: SHA-256 sums.
	Assets map[string][]string `json:"assets,omitempty"`
}

// Store reads and writes under one prefix. It is safe for concurrent use.
type Store struct {
	kv     KV
	prefix string
	agent  string
	codec  codec
	log    hclog.Logger
	bad    unreadable
}

// New returns the store of the Wadi installation with this prefix. agent is the name of the
// writing agent.
func New(kv KV, prefix, agent string, log hclog.Logger) *Store {
	if prefix = strings.TrimSuffix(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	return &Store{kv: kv, prefix: prefix, agent: agent, log: log}
}

// LeaderKey is the key of the leader's lock.
func (s *Store) LeaderKey() string { return s.prefix + "leader" }

func (s *Store) key(k kind, parts ...string) string {
	return s.prefix + string(k) + "/" + strings.Join(parts, "/")
}

// Check proves the rights to write and to read the store. Without rights Consul answers a
// listing with an empty list, so that an empty list is believed only after this.
func (s *Store) Check(ctx context.Context) error {
	key := s.key(kindCheck, s.agent)
	pairs, err := s.kv.Txn(ctx, []consul.Op{
		{Verb: consul.Set, Key: key, Value: []byte(s.agent)},
		{Verb: consul.ReadTree, Key: key},
		{Verb: consul.Delete, Key: key},
	})
	if err != nil {
		return fmt.Errorf("check rights to %s: %w", s.prefix, err)
	}
	if !slices.ContainsFunc(pairs, func(p consul.Pair) bool { return p.Key == key && len(p.Value) > 0 }) {
		return fmt.Errorf("check rights to %s: what was written can't be read: %w", s.prefix, wadi.ErrOwnRight)
	}
	return nil
}

// Spec returns a service, and the index to check and set it by.
func (s *Store) Spec(ctx context.Context, name string) (wadi.Spec, uint64, error) {
	return read[wadi.Spec](ctx, s, kindSpec, name)
}

// Route returns the route of a service.
func (s *Store) Route(ctx context.Context, name string) (wadi.Route, error) {
	v, _, err := read[wadi.Route](ctx, s, kindRoute, name)
	return v, err
}

// Routes returns all routes.
func (s *Store) Routes(ctx context.Context) (map[string]wadi.Route, error) {
	out := map[string]wadi.Route{}
	err := readAll(ctx, s, s.key(kindRoute), kindRoute, func(name string, v wadi.Route) { out[name] = v })
	return out, err
}

// State returns the leader's memory of a service.
func (s *Store) State(ctx context.Context, name string) (wadi.State, error) {
	v, _, err := read[wadi.State](ctx, s, kindState, name)
	return v, err
}

// Status returns a service as the leader last saw it.
func (s *Store) Status(ctx context.Context, name string) (wadi.Status, error) {
	v, _, err := read[wadi.Status](ctx, s, kindStatus, name)
	return v, err
}

// Revision returns a revision.
func (s *Store) Revision(ctx context.Context, service, id string) (wadi.Revision, error) {
	v, _, err := read[wadi.Revision](ctx, s, kindRevision, service, id)
	return v, err
}

// Revisions returns all stored revisions of a service, oldest first. If some can't be read,
// it returns the others with [wadi.ErrUnreadable].
func (s *Store) Revisions(ctx context.Context, service string) ([]wadi.Revision, error) {
	var out []wadi.Revision
	err := readAll(ctx, s, s.key(kindRevision, service, ""), kindRevision, func(_ string, v wadi.Revision) { out = append(out, v) })
	sortRevisions(out)
	return out, err
}

// indexes returns the index entry of every service. If some can't be read, it returns the
// others with [wadi.ErrUnreadable].
func (s *Store) indexes(ctx context.Context) (map[string]Index, error) {
	out := map[string]Index{}
	err := readAll(ctx, s, s.key(kindIndex), kindIndex, func(name string, v Index) { out[name] = v })
	return out, err
}

// Services returns the names of all services, sorted, unreadable ones included.
func (s *Store) Services(ctx context.Context) ([]string, error) {
	prefix := s.key(kindIndex)
	pairs, err := s.kv.List(ctx, prefix)
	names := make([]string, 0, len(pairs))
	for _, p := range pairs {
		names = append(names, strings.TrimPrefix(p.Key, prefix))
	}
	slices.Sort(names)
	return names, err
}

// Domains returns the service that has each domain, from the readable index entries. Submit
// checks the claims themselves.
func (s *Store) Domains(ctx context.Context) (map[string]string, error) {
	all, err := s.indexes(ctx)
	if errors.Is(err, wadi.ErrUnreadable) {
		err = nil
	}
	out := map[string]string{}
	for name, index := range all {
		for _, d := range index.Domains {
			out[d] = name
		}
	}
	return out, err
}

// read gets and decodes one value.
func read[T any](ctx context.Context, s *Store, k kind, parts ...string) (v T, index uint64, err error) {
	p, err := s.kv.Get(ctx, s.key(k, parts...))
	if errors.Is(err, wadi.ErrNotFound) {
		return v, 0, fmt.Errorf("%s %s: %w", k, parts[len(parts)-1], wadi.ErrNotFound)
	}
	if err != nil {
		return v, 0, err
	}
	return v, p.Index, s.decode(p, k, &v)
}

// readAll lists and decodes all values below prefix, and calls fn with the rest of each key.
// It skips undecodable values, and returns their errors, [wadi.ErrUnreadable], at the end.
func readAll[T any](ctx context.Context, s *Store, prefix string, k kind, fn func(name string, v T)) error {
	pairs, err := s.kv.List(ctx, prefix)
	if err != nil {
		return err
	}
	var unreadable []error
	for _, p := range pairs {
		var v T
		if err := s.decode(p, k, &v); s.skip(p, err) {
			unreadable = append(unreadable, err)
			continue
		}
		fn(strings.TrimPrefix(p.Key, prefix), v)
	}
	return errors.Join(unreadable...)
}

func (s *Store) decode(p consul.Pair, k kind, v any) error {
	if err := s.codec.decode(k, p.Value, v); err != nil {
		return fmt.Errorf("read %s: %w: %w", p.Key, wadi.ErrUnreadable, err)
	}
	return nil
}

func sortRevisions(rs []wadi.Revision) {
	slices.SortFunc(rs, func(a, b wadi.Revision) int { return a.Number - b.Number })
}

// AssetsOfRevisions returns the same as Assets from the revisions themselves, which is slow. An
// agent that does not know the index's names drops them with each write of an entry; revisions
// are never written again.
func (s *Store) AssetsOfRevisions(ctx context.Context) (map[string]int, error) {
	services, err := s.Services(ctx)
	if err == nil && len(services) == 0 {
		err = s.Check(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("read what revisions name: %w", err)
	}
	out := map[string]int{}
	for _, name := range services {
		revisions, err := s.Revisions(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("read what revisions of %s name: %w", name, err)
		}
		for _, r := range revisions {
			for _, sum := range r.Assets {
				out[sum]++
			}
		}
	}
	return out, nil
}

// Assets returns the programs that revisions name, by checksum, with the number of revisions.
// It returns all of them or an error: what is not in it may be removed.
func (s *Store) Assets(ctx context.Context) (map[string]int, error) {
	all, err := s.indexes(ctx)
	if err != nil {
		return nil, fmt.Errorf("read what revisions name: %w", err)
	}
	if len(all) == 0 { // Without rights Consul says the same.
		if err := s.Check(ctx); err != nil {
			return nil, err
		}
	}
	out := map[string]int{}
	for _, i := range all {
		for _, sums := range i.Assets {
			for _, sum := range sums {
				out[sum]++
			}
		}
	}
	return out, nil
}
