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

// writeWithClaims does ops and edits in one transaction, and the operations on claims that
// the submissions need: in the same transaction if they fit, else before and after it. It
// stores all services or none in both cases.
//
// A claim that is made before is void until its service is stored. If that fails, and the
// agent dies before it takes the claim back, it stays void: other services may take it over,
// and the service's next submission does. A claim that is not given up after is void too.
func (s *Store) writeWithClaims(ctx context.Context, all []wadi.Submission, ops []consul.Op, edits []edit) ([]consul.Pair, error) {
	for try := 1; ; try++ {
		c, err := s.claims(ctx, all)
		if err != nil {
			return nil, err
		}
		pairs, err := s.write(ctx, slices.Concat(ops, c.all(s)), edits)
		if errors.Is(err, wadi.ErrTooLarge) && len(c.take)+len(c.drop) > 0 {
			pairs, err = s.inParts(ctx, all, c, ops, edits)
		}
		if err == nil || try == claimTries || !onlyFrom(err, len(ops)) && !errors.Is(err, errClaim) {
			return pairs, err
		}
	}
}

// undoTimeout bounds the removal of claims that a refused submission has made.
const undoTimeout = 5 * time.Second

// errClaim: another submission got the claim at the same moment.
var errClaim = errors.New("another submission was faster")

// all returns all operations of c, for one transaction.
func (c *claims) all(s *Store) []consul.Op {
	ops := slices.Concat(c.guards, c.move)
	for _, st := range slices.Concat(c.drop, c.take) {
		ops = append(append(ops, st.guards...), st.op)
	}
	return append(ops, s.noTakeover(c))
}

// withSpecs returns the operations of c that have to be in the transaction of the specs.
func (c *claims) withSpecs(s *Store) []consul.Op {
	return append(slices.Concat(c.guards, c.move), s.noTakeover(c))
}

// noTakeover returns the operation that fails after a takeover since the claims were read.
// If these claims take one over, it is visible to other submissions.
func (s *Store) noTakeover(c *claims) consul.Op {
	key := s.takeoverKey()
	if c.takesOver {
		return consul.Op{Verb: consul.CAS, Key: key, Value: []byte(s.agent), Index: c.takeover}
	}
	return unchanged(key, c.takeover)
}

// unchanged returns the operation that fails unless a key is at index; 0: it must not exist.
func unchanged(key string, index uint64) consul.Op {
	if index == 0 {
		return consul.Op{Verb: consul.MustNotBe, Key: key}
	}
	return consul.Op{Verb: consul.MustBeAt, Key: key, Index: index}
}

// inParts makes the claims, stores the services in one transaction, and then gives up the
// claims that they don't want any more.
func (s *Store) inParts(ctx context.Context, all []wadi.Submission, c *claims, ops []consul.Op, edits []edit) ([]consul.Pair, error) {
	if err := s.fit(ctx, slices.Concat(ops, c.withSpecs(s)), edits); err != nil {
		return nil, err // Before anything is written.
	}
	made, err := s.take(ctx, c)
	var pairs []consul.Pair
	if err == nil {
		pairs, err = s.write(ctx, slices.Concat(ops, c.withSpecs(s)), edits)
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		_ = s.giveUp(ctx, made, before(all, s)) // If it fails they stay, and are void.
		return nil, err
	}
	if err := s.giveUp(ctx, c.drop, after(all, s, pairs)); err != nil {
		s.log.Warn("claims that services don't want any more are given up when they are next submitted", "error", err)
	}
	return pairs, nil
}

// take makes the claims outside the transaction of the specs. It returns the claims that it
// has made.
func (s *Store) take(ctx context.Context, c *claims) (made []step, err error) {
	rest := c.take
	for len(rest) > 0 {
		var ops []consul.Op
		var takesOver bool
		n := 0
		for _, st := range rest {
			if len(ops)+len(st.guards)+2 > consul.MaxTxnOps { // 1 for the takeover.
				break
			}
			ops, takesOver = append(append(ops, st.guards...), st.op), takesOver || st.void
			n++
		}
		if takesOver {
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
		if takesOver {
			c.takeover = indexOf(pairs, s.takeoverKey())
		}
		rest = rest[n:]
	}
	return made, nil
}

// fit returns [wadi.ErrTooLarge] if ops and edits exceed one transaction.
func (s *Store) fit(ctx context.Context, ops []consul.Op, edits []edit) error {
	for _, e := range edits {
		op, err := s.edited(ctx, e)
		if err != nil {
			return err
		}
		ops = append(ops, op)
	}
	return consul.CheckSize(ops)
}

// giveUp removes claims, those of each service only if its guard holds: a spec that was
// stored meanwhile may rely on them.
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

// before returns, by service, the operation that fails unless the spec is as it was before
// the submission.
func before(all []wadi.Submission, s *Store) map[string]consul.Op {
	out := map[string]consul.Op{}
	for _, sub := range all {
		name := sub.Spec.Service.Name
		out[name] = unchanged(s.key(kindSpec, name), sub.Index)
	}
	return out
}

// after returns, by service, the operation that fails unless the spec is as the submission
// stored it.
func after(all []wadi.Submission, s *Store, pairs []consul.Pair) map[string]consul.Op {
	out := map[string]consul.Op{}
	for _, sub := range all {
		key := s.key(kindSpec, sub.Spec.Service.Name)
		out[sub.Spec.Service.Name] = consul.Op{Verb: consul.MustBeAt, Key: key, Index: indexOf(pairs, key)}
	}
	return out
}
