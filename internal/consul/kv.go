package consul

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// Consul's bounds of a transaction. The bytes are those of the request, with values in
// base64: about 384 KiB of values.
const (
	MaxTxnOps   = 128
	MaxTxnBytes = 512 << 10
)

// opOverhead is the size of an operation besides key and value.
const opOverhead = 128

// Pair is a key with its value.
type Pair struct {
	Key     string
	Value   []byte
	Index   uint64 // ModifyIndex, which a check-and-set compares.
	Session string // The session that has it as a lock; empty if none has.
}

// Get reads a key; [wadi.ErrNotFound] if there is none, which Consul is asked twice, by a
// read and by a transaction.
func (c *Client) Get(ctx context.Context, key string) (Pair, error) {
	p, _, err := c.get(key, present(ctx))
	return p, err
}

// WaitGet is Get after the key has changed since index, or after wait. With consistent,
// Consul's leader first makes sure that it still leads.
func (c *Client) WaitGet(ctx context.Context, key string, index uint64, wait time.Duration, consistent bool) (Pair, uint64, error) {
	q, cancel := blocking(ctx, index, wait)
	defer cancel()
	q.RequireConsistent = q.RequireConsistent || consistent
	return c.get(key, q)
}

func (c *Client) get(key string, q *api.QueryOptions) (Pair, uint64, error) {
	p, meta, err := c.api().KV().Get(key, q)
	if err != nil {
		return Pair{}, 0, Wrap("read "+key, err)
	}
	if err := answered(meta); err != nil {
		return Pair{}, 0, fmt.Errorf("read %s: %w", key, err)
	}
	if p == nil {
		p, err := c.certainly(q.Context(), Op{Verb: Read, Key: key})
		if err == nil && (len(p) == 0 || p[0].Index == 0) {
			err = fmt.Errorf("read %s: %w", key, wadi.ErrNotFound)
		}
		if err != nil {
			return Pair{}, meta.LastIndex, err
		}
		return p[0], meta.LastIndex, nil
	}
	return pair(p), meta.LastIndex, nil
}

// certainly reads by a transaction what a plain read says is not there. A cache or a proxy
// that answers reads with nothing does not answer writes: it can't make up a transaction's
// result. So that there is nothing is believed only if Consul says so in two ways.
func (c *Client) certainly(ctx context.Context, op Op) ([]Pair, error) {
	return c.Txn(ctx, []Op{op})
}

// List reads every key under prefix, sorted by key. Consul answers a list that the token
// may not read as if it were empty. So an empty list is believed only if the prefix itself
// may be read as a key, before it and after it, as the right may come or go in between;
// otherwise the error is [wadi.ErrOwnRight]; and if a transaction that lists it finds nothing
// either.
func (c *Client) List(ctx context.Context, prefix string) ([]Pair, error) {
	ps, _, err := c.list(prefix, present(ctx))
	if err != nil || len(ps) > 0 {
		return ps, err
	}
	if err := c.mayRead(ctx, prefix); err != nil {
		return nil, err
	}
	ps, _, err = c.list(prefix, present(ctx))
	if err != nil || len(ps) > 0 {
		return ps, err
	}
	if ps, err = c.certainly(ctx, Op{Verb: ReadTree, Key: prefix}); err != nil || len(ps) > 0 {
		return ps, err
	}
	return nil, c.mayRead(ctx, prefix)
}

// mayRead proves the right to read a key, which need not exist.
func (c *Client) mayRead(ctx context.Context, key string) error {
	if _, err := c.Get(ctx, key); err != nil && !isNotFound(err) {
		return err
	}
	return nil
}

// WaitList is List without that proof, after something under prefix has changed since
// index, or after a minute. The returned index is for the next call; 0 asks for the
// present state.
func (c *Client) WaitList(ctx context.Context, prefix string, index uint64) ([]Pair, uint64, error) {
	q, cancel := blocking(ctx, index, time.Minute)
	defer cancel()
	return c.list(prefix, q)
}

// WaitChange returns the index of the last change below prefix, which does not end in a
// slash, after that has changed since index, or after a minute; index 0 asks for the present
// one. However many keys there are, the answer is small.
func (c *Client) WaitChange(ctx context.Context, prefix string, index uint64) (uint64, error) {
	q, cancel := blocking(ctx, index, time.Minute)
	defer cancel()
	// With a separator Consul names all keys below the prefix by one.
	_, meta, err := c.api().KV().Keys(prefix, "/", q)
	if err != nil {
		return 0, Wrap("watch "+prefix, err)
	}
	if err := answered(meta); err != nil {
		return 0, fmt.Errorf("watch %s: %w", prefix, err)
	}
	return meta.LastIndex, nil
}

func (c *Client) list(prefix string, q *api.QueryOptions) ([]Pair, uint64, error) {
	ps, meta, err := c.api().KV().List(prefix, q)
	if err != nil {
		return nil, 0, Wrap("list "+prefix, err)
	}
	if err := answered(meta); err != nil {
		return nil, 0, fmt.Errorf("list %s: %w", prefix, err)
	}
	out := make([]Pair, len(ps))
	for i, p := range ps {
		out[i] = pair(p)
	}
	return out, meta.LastIndex, nil
}

// answered refuses an answer without an index: it comes from something else at Consul's
// address, such as a proxy, whose 404 does not mean that there is no such key.
func answered(meta *api.QueryMeta) error {
	if meta.LastIndex == 0 {
		return fmt.Errorf("an answer that is not Consul's, without an index: %w", wadi.ErrUnavailable)
	}
	return nil
}

func pair(p *api.KVPair) Pair {
	return Pair{Key: p.Key, Value: p.Value, Index: p.ModifyIndex, Session: p.Session}
}

// Verb is the kind of an operation in a transaction.
type Verb string

// The verbs of a transaction.
const (
	Set        Verb = "set"
	CAS        Verb = "cas"              // Set if Index is the key's; 0: if there is no such key.
	Delete     Verb = "delete"           // No such key is no error.
	DeleteCAS  Verb = "delete-cas"       // Delete if Index is the key's. No such key is no error.
	DeleteTree Verb = "delete-tree"      // Delete every key under the prefix Key.
	MustExist  Verb = "get"              // Fail if there is no such key; gives its pair.
	MustNotBe  Verb = "check-not-exists" // Fail if there is such a key.
	MustBeAt   Verb = "check-index"      // Fail unless Index is the key's; gives its pair.
	Read       Verb = "get-or-empty"     // Gives the pair; one with Index 0 if there is no such key.
	ReadTree   Verb = "get-tree"         // Gives every pair under the prefix Key that may be read.

	// MustHold fails with [wadi.ErrNotLeading] unless Session holds the key as a lock; gives its pair.
	MustHold Verb = "check-session"
)

// Op is one operation of a transaction.
type Op struct {
	Verb  Verb
	Key   string
	Value []byte
	Index uint64

	Session string // For MustHold.
}

// TxnError says which operations made a transaction fail. Nothing of it was done.
type TxnError struct {
	Ops   []int // Positions in the transaction.
	Cause string
	kind  error
}

// NewTxnError is the error of a transaction that failed by ops, for what stands in for Consul.
func NewTxnError(kind error, cause string, ops ...int) *TxnError {
	return &TxnError{Ops: ops, Cause: cause, kind: kind}
}

// Error is Consul's reason.
func (e *TxnError) Error() string { return e.Cause }

// Unwrap is the sentinel error that fits.
func (e *TxnError) Unwrap() error { return e.kind }

// Txn does all of ops or nothing. It returns the pairs in Consul's answer (writes without
// their values, deletes not at all). If an operation fails, the error is a [*TxnError]
// that wraps [wadi.ErrConflict], [wadi.ErrOwnRight] or [wadi.ErrNotLeading]. Too large
// transactions are refused with [wadi.ErrTooLarge] before anything is sent. A transaction
// that only reads is a read of the present state.
func (c *Client) Txn(ctx context.Context, ops []Op) ([]Pair, error) {
	if err := CheckSize(ops); err != nil {
		return nil, fmt.Errorf("write transaction: %w", err)
	}
	req := make(api.TxnOps, len(ops))
	for i, op := range ops {
		req[i] = &api.TxnOp{KV: &api.KVTxnOp{
			Verb: api.KVOp(op.Verb), Key: op.Key, Value: op.Value, Index: op.Index, Session: op.Session,
		}}
	}
	ok, resp, _, err := c.api().Txn().Txn(req, present(ctx))
	if err != nil {
		return nil, Wrap("write transaction", err)
	}
	if !ok {
		return nil, fmt.Errorf("write transaction: %w", txnError(ops, resp.Errors))
	}
	var out []Pair
	for _, r := range resp.Results {
		if r.KV != nil {
			out = append(out, pair(r.KV))
		}
	}
	return out, nil
}

func txnError(ops []Op, errs api.TxnErrors) *TxnError {
	e := &TxnError{kind: wadi.ErrConflict, Cause: "refused without a reason"}
	for i, te := range errs {
		e.Ops = append(e.Ops, te.OpIndex)
		if i == 0 {
			e.Cause = te.What
		}
		kind := textSentinel(te.What)
		if errors.Is(kind, wadi.ErrForbidden) {
			kind = wadi.ErrOwnRight
		}
		if kind != nil {
			e.kind, e.Cause = kind, te.What
		}
	}
	for _, i := range e.Ops { // Without the lock no other reason matters.
		if i < len(ops) && ops[i].Verb == MustHold && !errors.Is(e.kind, wadi.ErrForbidden) {
			e.kind = wadi.ErrNotLeading
		}
	}
	return e
}

// CheckSize returns [wadi.ErrTooLarge] for a transaction that is larger than Consul permits.
func CheckSize(ops []Op) error {
	if len(ops) > MaxTxnOps {
		return fmt.Errorf("%d operations, at most %d in one transaction: %w", len(ops), MaxTxnOps, wadi.ErrTooLarge)
	}
	size := 0
	for _, op := range ops {
		size += (len(op.Value)+2)/3*4 + len(op.Key) + opOverhead
	}
	if size > MaxTxnBytes {
		return fmt.Errorf("%d KiB as sent, at most %d KiB in one transaction: %w", size>>10, MaxTxnBytes>>10, wadi.ErrTooLarge)
	}
	return nil
}
