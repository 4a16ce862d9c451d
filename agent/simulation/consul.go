package simulation

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/store"
)

// Times of sessions and of the lock, as of package consul.
const (
	LockTTL   = consul.DefaultTTL
	lockDelay = time.Second
	waitMax   = time.Minute // Of a blocking query.
)

// Consul is its key-value store, with sessions and locks. Its methods, other than those of
// its clients, are for the goroutine that drives the gate.
type Consul struct {
	Gate *Gate
	// Written is called before a transaction of an actor takes effect; an error is a fault of
	// the product.
	Written func(actor string, ops []consul.Op)

	index    uint64
	pairs    map[string]consul.Pair
	last     map[string]uint64        // By the first part of a key's rest: the index of its last change.
	changed  map[string]chan struct{} // By the same: closed at the next change.
	Lost     map[string]time.Time     // By session: when it lost its lock.
	sessions map[string]*session      // By ID.
	delays   map[string]time.Time     // By key: until when a lock can't be had.
	next     int                      // Session.
}

// session ends when its agent does not pass its check.
type session struct {
	id, agent string
	until     time.Time
}

// NewConsul returns an empty one.
func NewConsul(g *Gate) *Consul {
	return &Consul{
		Gate: g, index: 1, pairs: map[string]consul.Pair{}, last: map[string]uint64{}, changed: map[string]chan struct{}{},
		Lost: map[string]time.Time{}, sessions: map[string]*session{}, delays: map[string]time.Time{},
	}
}

// Pairs are all keys with their values, sorted.
func (c *Consul) Pairs(prefix string) (out []consul.Pair) {
	for k, p := range c.pairs {
		if strings.HasPrefix(k, prefix) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b consul.Pair) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// Index is the index of the last change.
func (c *Consul) Index() uint64 { return c.index }

// Pair is one key; its index is 0 if there is none.
func (c *Consul) Pair(key string) consul.Pair { return c.pairs[key] }

// Holder is the session that has a key as a lock; empty: none has.
func (c *Consul) Holder(key string) string { return c.pairs[key].Session }

// Pass passes an agent's check: its session goes on.
func (c *Consul) Pass(id string) {
	if s := c.sessions[id]; s != nil {
		s.until = time.Now().Add(LockTTL)
	}
}

// Expire ends the sessions whose checks were not passed.
func (c *Consul) Expire() {
	now := time.Now()
	for id, s := range c.sessions {
		if !now.Before(s.until) {
			c.End(id, true)
		}
	}
}

// Acquire gets the lock at key for an agent, in a session of its own; empty: it can't now.
func (c *Consul) Acquire(agent, key string) string {
	now := time.Now()
	if c.pairs[key].Session != "" || now.Before(c.delays[key]) {
		return ""
	}
	c.next++
	s := &session{id: fmt.Sprintf("session-%d-%s", c.next, agent), agent: agent, until: now.Add(LockTTL)}
	c.sessions[s.id] = s
	p := c.pairs[key]
	p.Key, p.Value, p.Session = key, []byte(agent), s.id
	c.set(p)
	return s.id
}

// End ends a session, and gives its lock up: after a delay if it failed.
func (c *Consul) End(id string, failed bool) {
	delete(c.sessions, id)
	for k, p := range c.pairs {
		if p.Session == id {
			c.Lost[id] = time.Now()
			if p.Session = ""; failed {
				c.delays[k] = time.Now().Add(lockDelay)
			}
			c.set(p)
		}
	}
}

// set stores a pair.
func (c *Consul) set(p consul.Pair) {
	c.index++
	p.Index = c.index
	c.pairs[p.Key] = p
	c.note(p.Key)
}

func (c *Consul) remove(key string) {
	if _, ok := c.pairs[key]; ok {
		c.index++
		delete(c.pairs, key)
		c.note(key)
	}
}

// part is the part of a key, or of a prefix, by which changes are told apart.
func part(key string) string {
	if i := strings.IndexByte(key, '/'); i >= 0 {
		if j := strings.IndexByte(key[i+1:], '/'); j >= 0 {
			return key[:i+1+j+1]
		}
	}
	return key
}

func (c *Consul) note(key string) {
	c.last[part(key)] = c.index
	if ch := c.changed[part(key)]; ch != nil {
		close(ch)
		delete(c.changed, part(key))
	}
}

// changedOf is closed at the next change of anything that begins as prefix does.
func (c *Consul) changedOf(prefix string) chan struct{} {
	ch := c.changed[part(prefix)]
	if ch == nil {
		ch = make(chan struct{})
		c.changed[part(prefix)] = ch
	}
	return ch
}

// Client is what one actor sees of it.
func (c *Consul) Client(actor string) store.KV { return client{c, actor, c.Gate.Do} }

// Direct is a client of the goroutine that drives the gate, whose calls are executed at once.
func (c *Consul) Direct() store.KV {
	return client{c, "", func(_ context.Context, _, _ string, do func(Verdict) error) error { return do(Verdict{}) }}
}

type client struct {
	c     *Consul
	actor string
	do    func(ctx context.Context, actor, what string, do func(Verdict) error) error
}

func (k client) Get(ctx context.Context, key string) (p consul.Pair, err error) {
	err = k.do(ctx, k.actor, "get "+key, func(Verdict) error {
		var ok bool
		if p, ok = k.c.pairs[key]; !ok {
			return fmt.Errorf("read %s: %w", key, wadi.ErrNotFound)
		}
		return nil
	})
	return p, err
}

// List believes an empty answer no more than package consul's.
func (k client) List(ctx context.Context, prefix string) (out []consul.Pair, err error) {
	err = k.do(ctx, k.actor, "list "+prefix, func(Verdict) error { out = k.c.Pairs(prefix); return nil })
	return out, err
}

func (k client) WaitList(ctx context.Context, prefix string, index uint64) (out []consul.Pair, next uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, waitMax)
	defer cancel()
	for {
		var changed chan struct{}
		err = k.do(ctx, k.actor, "watch "+prefix, func(v Verdict) error {
			changed = k.c.changedOf(prefix)
			// A change elsewhere moves no index that this waits for.
			next = max(1, k.c.last[part(prefix)])
			switch out = k.c.Pairs(prefix); {
			case v.Empty:
				out = nil
			case v.Stale && index > 0: // The first query is consistent.
				out, next = nil, 1
			}
			return nil
		})
		if err != nil && ctx.Err() == nil || next != index {
			return out, next, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return out, index, nil
		}
	}
}

func (k client) WaitChange(ctx context.Context, prefix string, index uint64) (uint64, error) {
	_, next, err := k.WaitList(ctx, prefix, index)
	return next, err
}

func (k client) Txn(ctx context.Context, ops []consul.Op) (out []consul.Pair, err error) {
	if err := consul.CheckSize(ops); err != nil {
		return nil, err
	}
	what := "txn"
	for _, op := range ops {
		what += " " + string(op.Verb) + " " + op.Key
	}
	err = k.do(ctx, k.actor, what, func(Verdict) error {
		out, err = k.c.txn(k.actor, ops)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// txn does all of ops or nothing.
func (c *Consul) txn(actor string, ops []consul.Op) ([]consul.Pair, error) {
	var failed []int
	kind, cause := wadi.ErrConflict, ""
	writes := false
	for i, op := range ops {
		p, there := c.pairs[op.Key]
		bad := false
		switch op.Verb {
		case consul.CAS:
			bad = p.Index != op.Index
			writes = true
		case consul.DeleteCAS:
			bad = there && p.Index != op.Index
			writes = true
		case consul.MustExist:
			bad = !there
		case consul.MustNotBe:
			bad = there
		case consul.MustBeAt:
			bad = p.Index != op.Index
		case consul.MustHold:
			if bad = !there || p.Session != op.Session; bad {
				kind = wadi.ErrNotLeading
			}
		case consul.Set, consul.Delete, consul.DeleteTree:
			writes = true
		}
		if bad {
			failed = append(failed, i)
			cause = fmt.Sprintf("%s of %s failed, index %d", op.Verb, op.Key, p.Index)
		}
	}
	if len(failed) > 0 {
		return nil, fmt.Errorf("write transaction: %w", consul.NewTxnError(kind, cause, failed...))
	}
	if writes && c.Written != nil {
		c.Written(actor, ops)
	}
	var out []consul.Pair
	for _, op := range ops {
		switch op.Verb {
		case consul.Set, consul.CAS:
			c.set(consul.Pair{Key: op.Key, Value: bytes.Clone(op.Value), Session: c.pairs[op.Key].Session})
			p := c.pairs[op.Key]
			p.Value = nil
			out = append(out, p)
		case consul.Delete, consul.DeleteCAS:
			c.remove(op.Key)
		case consul.DeleteTree:
			for _, p := range c.Pairs(op.Key) {
				c.remove(p.Key)
			}
		case consul.Read, consul.MustExist, consul.MustBeAt, consul.MustHold:
			p := c.pairs[op.Key]
			p.Key = op.Key
			out = append(out, p)
		case consul.ReadTree:
			out = append(out, c.Pairs(op.Key)...)
		}
	}
	return out, nil
}

// Term is an agent's time as leader, as [consul.Term] is: certain for a while after it was
// confirmed.
type Term struct {
	consul.Lock
	c         *Consul
	actor     string
	confirmed time.Time
	alive     time.Time // Until when the agent's check surely passes.
	end       func()    // Ends the term.
	held      time.Time // When a part of the term last read that it holds the lock.
}

// NewTerm returns the term of a session that has just got the lock.
func (c *Consul) NewTerm(actor, key, id string, end func()) *Term {
	return &Term{Lock: consul.Lock{Key: key, Session: id}, c: c, actor: actor, confirmed: time.Now(), alive: time.Now().Add(LockTTL), end: end}
}

// Certain is as [consul.Term.Certain].
func (t *Term) Certain() error {
	if now := time.Now(); !now.Before(t.confirmed.Add(LockTTL)) || !now.Before(t.alive) {
		return fmt.Errorf("%w: not confirmed for %s", wadi.ErrNotLeading, LockTTL)
	}
	return nil
}

// Confirm is as [consul.Term.Confirm].
func (t *Term) Confirm(ctx context.Context) error {
	if err := t.Certain(); err != nil {
		return err
	}
	sent, held := time.Now(), false
	err := t.c.Gate.Do(ctx, t.actor, "confirm", func(Verdict) error {
		if held = t.Holds(); held {
			t.held = time.Now()
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case !held:
		t.end()
		return fmt.Errorf("%w: another session has the lock", wadi.ErrNotLeading)
	}
	t.confirmed = later(t.confirmed, sent)
	return nil
}

// Held is when a part of the term last asked for the lock, and held it.
func (t *Term) Held() time.Time { return t.held }

// Holds reports whether Consul has the term's session at the lock.
func (t *Term) Holds() bool { return t.c.Holder(t.Key) == t.Session }

// Renew passes the agent's check, and confirms the lock in the background. A lost lock ends
// the term.
func (t *Term) Renew() {
	now := time.Now()
	t.c.Pass(t.Session)
	t.alive = now.Add(LockTTL)
	if !t.Holds() {
		t.end()
		return
	}
	t.confirmed = later(t.confirmed, now)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
