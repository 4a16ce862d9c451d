package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// claiming does ops and edits in one transaction, and with them what the submissions
// need of claims: in the same transaction if there is room, else before and after.
// The services are stored all or none in any case.
//
// A claim that was made before is void until its service is stored. It stays so if
// that does not come to pass and nobody is left to take it back: others may take it
// over, and the service's next submission does. What was not given up after is void too.
func (s *Store) claiming(ctx context.Context, all []wadi.Submission, ops []consul.Op, edits []edit) ([]consul.Pair, error) {
	for try := 1; ; try++ {
		c, err := s.claims(ctx, all)
		if err != nil {
			return nil, err
		}
		pairs, err := s.write(ctx, slices.Concat(ops, s.whole(c)), edits)
		if errors.Is(err, wadi.ErrTooLarge) && len(c.take)+len(c.drop) > 0 {
			pairs, err = s.inParts(ctx, all, c, ops, edits)
		}
		if err == nil || try == claimTries || !onlyFrom(err, len(ops)) && !errors.Is(err, errClaim) {
			return pairs, err
		}
	}
}

// undoRegister bounds giving claims back that a refused submission has made.
const takeBack = 5 * time.Second

// errClaim says that a claim was somebody else's at the moment when it was made.
var errClaim = errors.New("somebody else was faster")

// whole is all of c.
func (s *Store) whole(c *claims) []consul.Op {
	ops := slices.Concat(c.guards, c.move)
	for _, st := range slices.Concat(c.drop, c.take) {
		ops = append(append(ops, st.guards...), st.op)
	}
	return append(ops, s.noTakeover(c))
}

// withSpecs is what of c can't be done but with the specs.
func (s *Store) withSpecs(c *claims) []consul.Op {
	return append(slices.Concat(c.guards, c.move), s.noTakeover(c))
}

// noTakeover is the operation that fails if there was a takeover since the claims
// were read, and tells others of one of ours.
func (s *Store) noTakeover(c *claims) consul.Op {
	key := s.takeoverKey()
	if c.takes {
		return consul.Op{Verb: consul.CAS, Key: key, Value: []byte(s.agent), Index: c.takeover}
	}
	return unchanged(key, c.takeover)
}

// unchanged is the operation that fails unless a key is at index; 0: it must not be there.
func unchanged(key string, index uint64) consul.Op {
	if index == 0 {
		return consul.Op{Verb: consul.MustNotBe, Key: key}
	}
	return consul.Op{Verb: consul.MustBeAt, Key: key, Index: index}
}

// inParts makes the claims, stores the services in one transaction, and gives up what
// they don't want any more.
func (s *Store) inParts(ctx context.Context, all []wadi.Submission, c *claims, ops []consul.Op, edits []edit) ([]consul.Pair, error) {
	if err := s.fit(ctx, slices.Concat(ops, s.withSpecs(c)), edits); err != nil {
		return nil, err // Before anything is written.
	}
	made, err := s.take(ctx, c)
	var pairs []consul.Pair
	if err == nil {
		pairs, err = s.write(ctx, slices.Concat(ops, s.withSpecs(c)), edits)
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBack)
		defer cancel()
		_ = s.giveUp(ctx, made, before(all, s)) // Else they stay, and are void.
		return nil, err
	}
	if err := s.giveUp(ctx, c.drop, after(all, s, pairs)); err != nil {
		s.log.Warn("what services don't want any more is given up when they are next submitted", "error", err)
	}
	return pairs, nil
}

// take makes the claims that are not with the specs. It returns those that it has made.
func (s *Store) take(ctx context.Context, c *claims) (made []step, err error) {
	rest := c.take
	for len(rest) > 0 {
		var ops []consul.Op
		var takes bool
		n := 0
		for _, st := range rest {
			if len(ops)+len(st.guards)+2 > consul.MaxTxnOps { // One is for the takeover.
				break
			}
			ops, takes = append(append(ops, st.guards...), st.op), takes || st.void
			n++
		}
		if takes {
			ops = append(ops, s.noTakeover(c))
		}
		pairs, err := s.kv.Txn(ctx, ops)
		if errors.Is(err, wadi.ErrConflict) {
			return made, fmt.Errorf("%w: %w", errClaim, err)
		} else if err != nil {
			return made, err
		}
		for _, st := range rest[:n] {
			if st.fresh {
				st.op = consul.Op{Verb: consul.DeleteCAS, Key: st.op.Key, Index: indexOf(pairs, st.op.Key)}
				made = append(made, st)
			}
		}
		if takes {
			c.takeover = indexOf(pairs, s.takeoverKey())
		}
		rest = rest[n:]
	}
	return made, nil
}

// fit is [wadi.ErrTooLarge] if that is too much for one transaction.
func (s *Store) fit(ctx context.Context, ops []consul.Op, edits []edit) error {
	for _, e := range edits {
		op, err := s.edited(ctx, e)
		if err != nil {
			return err
		}
		ops = append(ops, op)
	}
	return consul.Measure(ops)
}

// giveUp removes claims, of each service only if its spec is as guard says: who stored
// another one meanwhile counts on them.
func (s *Store) giveUp(ctx context.Context, steps []step, guard map[string]consul.Op) error {
	of := map[string][]consul.Op{}
	for _, st := range steps {
		of[st.service] = append(of[st.service], st.op)
	}
	var failed []error
	for service, ops := range of {
		for some := range slices.Chunk(ops, consul.MaxTxnOps-1) {
			if _, err := s.kv.Txn(ctx, append([]consul.Op{guard[service]}, some...)); err != nil {
				failed = append(failed, fmt.Errorf("claims of %s: %w", service, err))
			}
		}
	}
	return errors.Join(failed...)
}

// before are the operations that fail if a service is not as it was submitted on.
func before(all []wadi.Submission, s *Store) map[string]consul.Op {
	out := map[string]consul.Op{}
	for _, sub := range all {
		name := sub.Spec.Service.Name
		out[name] = unchanged(s.key(kindSpec, name), sub.Index)
	}
	return out
}

// after are the operations that fail if a service is not as it was stored in pairs.
func after(all []wadi.Submission, s *Store, pairs []consul.Pair) map[string]consul.Op {
	out := map[string]consul.Op{}
	for _, sub := range all {
		key := s.key(kindSpec, sub.Spec.Service.Name)
		out[sub.Spec.Service.Name] = consul.Op{Verb: consul.MustBeAt, Key: key, Index: indexOf(pairs, key)}
	}
	return out
}
