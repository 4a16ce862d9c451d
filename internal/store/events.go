package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// The history of events is a ring of keys, each with some events: a new key takes the place of
// the oldest, so that it never has more.
const (
	eventSlots    = 16
	eventsPerSlot = 64
)

// eventChunk is the events of one key.
type eventChunk struct {
	Number uint64       `json:"number"` // Grows; modulo eventSlots it is the key's.
	Events []wadi.Event `json:"events"`
}

// EventLog is the leader's history of events. It is for one goroutine. Make it with
// [Writer.EventLog].
type EventLog struct {
	w      *Writer
	loaded bool       // Last is what is stored.
	last   eventChunk // The one that the next events go into.
}

// EventLog returns the history of events.
func (w *Writer) EventLog() *EventLog { return &EventLog{w: w} }

// Load returns the stored events, oldest first. Chunks that can't be read are left out: a
// history is no reason to stop. They are replaced when it is their turn.
func (l *EventLog) Load(ctx context.Context) ([]wadi.Event, error) {
	l.loaded = false
	prefix := l.w.key(kindEvents)
	pairs, err := l.w.kv.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	var chunks []eventChunk
	for _, p := range pairs {
		l.w.remember(p.Key, p.Index, p.Value)
		var c eventChunk
		if err := l.w.decode(p, kindEvents, &c); !l.w.skip(p, err) {
			chunks = append(chunks, c)
		}
	}
	slices.SortFunc(chunks, func(a, b eventChunk) int { return cmp.Compare(a.Number, b.Number) })
	l.last = eventChunk{}
	var all []wadi.Event
	for _, c := range chunks {
		all = append(all, c.Events...)
		l.last = c
	}
	l.loaded = true
	return all, nil
}

// Append stores events, oldest first. It leaves out those that are stored already, as after an
// error that hid whether they were.
func (l *EventLog) Append(ctx context.Context, events []wadi.Event) error {
	if !l.loaded {
		if _, err := l.Load(ctx); err != nil {
			return err
		}
	}
	if n := len(l.last.Events); n > 0 {
		stored := l.last.Events[n-1].Index
		events = slices.DeleteFunc(slices.Clone(events), func(e wadi.Event) bool { return e.Index <= stored })
	}
	events = events[max(0, len(events)-eventSlots*eventsPerSlot):]
	for len(events) > 0 {
		next := l.last
		if len(next.Events) >= eventsPerSlot {
			next = eventChunk{Number: next.Number + 1}
		}
		n := min(len(events), eventsPerSlot-len(next.Events))
		next.Events = slices.Concat(next.Events, events[:n])
		if err := l.put(ctx, next); err != nil {
			l.loaded = false
			return fmt.Errorf("store events: %w", err)
		}
		l.last, events = next, events[n:]
	}
	return nil
}

// put writes a chunk while the lock is held.
func (l *EventLog) put(ctx context.Context, c eventChunk) error {
	b, err := l.w.codec.encode(kindEvents, c)
	if err != nil {
		return err
	}
	key := l.w.key(kindEvents, strconv.FormatUint(c.Number%eventSlots, 10))
	last, err := l.w.last(ctx, key)
	if err != nil {
		return err
	}
	pairs, err := l.w.kv.Txn(ctx, l.w.fenced(consul.Op{Verb: consul.CAS, Key: key, Value: b, Index: last.index}))
	if err != nil {
		l.w.forget(key)
		return err
	}
	l.w.remember(key, indexOf(pairs, key), b)
	return nil
}
