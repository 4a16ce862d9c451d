package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/consul/consultest"
	"github.com/wadi-run/wadi/internal/store"
)

// numbered are events with the indexes from first to last.
func numbered(first, last uint64) []wadi.Event {
	var all []wadi.Event
	for i := first; i <= last; i++ {
		all = append(all, wadi.Event{Index: i, Service: "hello", Type: "Scaled", Message: strings.Repeat("x", 1<<10), Namespace: "default"})
	}
	return all
}

// span is the first and the last index, and the number, of stored events.
type span struct {
	First, Last uint64
	N           int
}

func stored(t *testing.T, w *store.Writer) span {
	t.Helper()
	all, err := w.EventLog().Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		return span{}
	}
	for i := range all[1:] {
		if all[i].Index >= all[i+1].Index {
			t.Fatalf("event %d comes before %d", all[i].Index, all[i+1].Index)
		}
	}
	return span{all[0].Index, all[len(all)-1].Index, len(all)}
}

// Events survive their leader, and however many there were, a bounded number is stored.
func testEvents(t *testing.T, s *store.Store) {
	ctx, w := t.Context(), leader(t, s)
	if got := stored(t, w); got != (span{}) {
		t.Errorf("before all events: %v", got)
	}
	add := func(log *store.EventLog, first, last uint64) {
		t.Helper()
		if err := log.Append(ctx, numbered(first, last)); err != nil {
			t.Fatal(err)
		}
	}
	log := w.EventLog()
	add(log, 1, 3)
	add(log, 2, 70) // The first two are stored already.
	if diff := cmp.Diff(span{1, 70, 70}, stored(t, w)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	second := s.Writer(takeLead(t, s))
	log = second.EventLog()
	if _, err := log.Load(ctx); err != nil {
		t.Fatal(err)
	}
	add(log, 1071, 1072) // Where the first left off.
	if diff := cmp.Diff(span{1, 1072, 72}, stored(t, second)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i := uint64(2000); i < 12000; i += 100 {
		add(log, i, i+99)
	}
	if got := stored(t, second); got.Last != 11999 || got.N > 1024 || got.N < 960 {
		t.Errorf("after 10,000 more: %v", got)
	}
	add(log, 20000, 30000) // More than all that are kept.
	if got := stored(t, second); got.Last != 30000 || got.N > 1024 || got.N < 960 {
		t.Errorf("after 10,000 at once: %v", got)
	}
	pairs, err := s.Consul().List(ctx, "wadi/events/")
	if err != nil || len(pairs) != 16 {
		t.Errorf("%d keys, %v; want 16", len(pairs), err)
	}
}

// A leader whose term has ended changes no event.
func testEventsAfterTheTerm(t *testing.T, s *store.Store) {
	old := leader(t, s).EventLog()
	if err := old.Append(t.Context(), numbered(1, 2)); err != nil {
		t.Fatal(err)
	}
	next := s.Writer(takeLead(t, s))
	if err := old.Append(t.Context(), numbered(3, 4)); !errors.Is(err, wadi.ErrNotLeading) {
		t.Errorf("got %v, want ErrNotLeading", err)
	}
	if diff := cmp.Diff(span{1, 2, 2}, stored(t, next)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A chunk that can't be read is left out, and replaced when it is its turn.
func TestEvents_Unreadable(t *testing.T) {
	f := consultest.Start(t)
	s := open(t, f.URL)
	w := leader(t, s)
	log := w.EventLog()
	if err := log.Append(t.Context(), numbered(1, 130)); err != nil { // In keys 0, 1 and 2.
		t.Fatal(err)
	}
	f.Put("wadi/events/1", []byte("damaged"))
	if diff := cmp.Diff(span{1, 130, 66}, stored(t, w)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	next := s.Writer(takeLead(t, s))
	f.Put("wadi/events/2", []byte("damaged"))
	log = next.EventLog()
	if diff := cmp.Diff(span{1, 64, 64}, stored(t, next)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := log.Append(t.Context(), numbered(200, 300)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(span{1, 300, 165}, stored(t, next)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// lossy loses the answers to writes of events.
type lossy struct {
	store.KV
	lose *bool
}

func (l lossy) Txn(ctx context.Context, ops []consul.Op) ([]consul.Pair, error) {
	pairs, err := l.KV.Txn(ctx, ops)
	if *l.lose && strings.HasPrefix(ops[len(ops)-1].Key, "wadi/events/") {
		return nil, wadi.ErrUnavailable
	}
	return pairs, err
}

// A write whose answer was lost is not made twice.
func TestEvents_LostAnswer(t *testing.T) {
	f := consultest.Start(t)
	client, err := consul.New(consul.Config{Address: f.URL})
	if err != nil {
		t.Fatal(err)
	}
	lose := true
	w := leader(t, open(t, f.URL))
	log := store.New(lossy{client, &lose}, "wadi/", "one", hclog.NewNullLogger()).Writer(consul.Lock{Key: w.LeaderKey(), Session: "session-1"}).EventLog()
	if err := log.Append(t.Context(), numbered(1, 100)); err == nil {
		t.Fatal("no error")
	}
	lose = false
	if err := log.Append(t.Context(), numbered(1, 100)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(span{1, 100, 100}, stored(t, w)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
