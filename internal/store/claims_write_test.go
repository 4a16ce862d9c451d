package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/store"
)

// many are as many services as may be submitted at once, each with more domains than
// have room in one transaction.
func many(prefix, below string, indexes map[string]uint64) []wadi.Submission {
	var all []wadi.Submission
	for i := range 16 {
		name := fmt.Sprintf("%s%d", prefix, i)
		var domains []string
		for d := range 6 {
			domains = append(domains, fmt.Sprintf("d%d.%s.%s", d, name, below))
		}
		sub := withDomains(name, indexes[name], domains...)
		if indexes[name] == 0 {
			sub.NewRevision = revision(name, 1)
		}
		all = append(all, sub)
	}
	return all
}

func wantServices(t *testing.T, s *store.Store, want int) {
	t.Helper()
	if names, err := s.Services(t.Context()); err != nil || len(names) != want {
		t.Errorf("%d services are stored (%v), want %d", len(names), err, want)
	}
}

func testManyDomains(t *testing.T, s *store.Store) {
	first := many("s", "x.com", nil)
	if err := s.Fits(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	indexes := claimed(t, s, first...)
	wantServices(t, s, 16)
	taken(t, s, withDomains("other", 0, "d5.s15.x.com"), "d5.s15.x.com", "s15")
	indexes = claimed(t, s, many("s", "y.com", indexes)...) // All of them others.
	taken(t, s, withDomains("other", 0, "d0.s0.y.com"), "d0.s0.y.com", "s0")
	claimed(t, s, many("t", "x.com", nil)...)
	claimed(t, s, withDomains("other", 0, "d5.s15.x.com"))

	// Moves between submitted services need the transaction of the specs: Fits checks that.
	swapped := many("s", "y.com", indexes)
	for i := range swapped {
		next := fmt.Sprintf("s%d.", (i+1)%len(swapped))
		for d := range swapped[i].Spec.Service.Domains {
			swapped[i].Spec.Service.Domains[d] = fmt.Sprintf("d%d.%sy.com", d, next)
		}
	}
	if err := s.Fits(t.Context(), swapped); !errors.Is(err, wadi.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	claimed(t, s, swapped[0:2:2][0], withDomains("s1", indexes["s1"]))
}

// Nothing is left of what was refused.
func testManyDomainsRefused(t *testing.T, s *store.Store) {
	submit(t, s, "s7", 1, 0)
	if _, err := s.Submit(t.Context(), many("s", "x.com", nil)); !errors.Is(err, wadi.ErrConflict) {
		t.Fatalf("got %v, want ErrConflict", err)
	}
	wantServices(t, s, 1)
	pairs, err := s.Consul().List(t.Context(), "wadi/domain/")
	if err != nil || len(pairs) > 7 { // Those of s7 may stay: somebody has just stored it.
		t.Errorf("%d domains are claimed (%v), want no more than those of the stored service", len(pairs), err)
	}
}

// Of two that each want one domain of the other's one is stored as a whole, the other
// not at all.
func testManyDomainsAtOnce(t *testing.T, s *store.Store) {
	for round := range 3 {
		names := []string{fmt.Sprintf("a%d-", round), fmt.Sprintf("b%d-", round)}
		var errs [2]error
		var wg sync.WaitGroup
		for i, name := range names {
			all := many(name, "x.com", nil)
			all[3].Spec.Service.Domains[2] = fmt.Sprintf("one%d.com", round)
			wg.Go(func() { _, errs[i] = s.Submit(context.Background(), all) })
		}
		wg.Wait()
		all, err := s.Services(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range names {
			stored := 0
			for _, n := range all {
				if strings.HasPrefix(n, name) {
					stored++
				}
			}
			if want := map[bool]int{true: 16}[errs[i] == nil]; stored != want {
				t.Errorf("%s: %d are stored, want %d (%v)", name, stored, want, errs[i])
			}
			if errs[i] != nil && !errors.Is(errs[i], wadi.ErrConflict) {
				t.Errorf("%s: got %v, want ErrConflict", name, errs[i])
			}
		}
		if errs[0] == nil && errs[1] == nil {
			t.Error("both have the domain")
		}
	}
}

// dying is a Consul that its agent does not reach any more after some transactions, as
// if it had died then.
type dying struct {
	*consul.Client
	left int
}

func (d *dying) Txn(ctx context.Context, ops []consul.Op) ([]consul.Pair, error) {
	if d.left--; d.left < 0 {
		return nil, wadi.ErrUnavailable
	}
	return d.Client.Txn(ctx, ops)
}

// An agent that dies in the middle of a submission leaves every service as it was, and
// nothing that keeps others, or the same submission, from being stored.
func TestSubmit_DiesBetweenTheParts(t *testing.T) {
	for left := range 4 {
		for name, next := range map[string][]wadi.Submission{
			"submitted again": many("s", "x.com", nil),
			"taken over":      {withDomains("other", 0, "d0.s0.x.com", "d5.s15.x.com", "d1.s7.x.com")},
		} {
			t.Run(fmt.Sprintf("%s after %d", name, left), func(t *testing.T) {
				_, s := openFake(t)
				dies := store.New(&dying{s.Consul(), left}, "wadi", "dies", hclog.NewNullLogger())
				if _, err := dies.Submit(t.Context(), many("s", "x.com", nil)); err == nil {
					if wantServices(t, s, 16); left < 2 {
						t.Error("it did not take more than one transaction")
					}
					return
				}
				wantServices(t, s, 0)
				claimed(t, s, next...)
				wantServices(t, s, len(next))
				for _, sub := range next {
					for _, d := range sub.Spec.Service.Domains {
						taken(t, s, withDomains("late", 0, d), d, sub.Spec.Service.Name)
					}
				}
			})
		}
	}
}

// What is submitted counts on claims that it made before: one that takes them over in
// between, as they are void, makes it begin again.
func TestSubmit_ClaimsAreTakenOverMeanwhile(t *testing.T) {
	_, s := openFake(t)
	between := &meanwhile{Client: s.Consul()}
	slow := store.New(between, "wadi", "slow", hclog.NewNullLogger())
	between.do = func() { claimed(t, s, withDomains("fast", 0, "d3.s4.x.com")) }
	_, err := slow.Submit(t.Context(), many("s", "x.com", nil))
	var got *wadi.DomainTakenError
	if !errors.As(err, &got) || got.Holder != "fast" {
		t.Errorf("got %v, want a DomainTakenError with the holder fast", err)
	}
	wantServices(t, s, 1)
}

// meanwhile is a Consul at which something is done after the first transaction.
type meanwhile struct {
	*consul.Client
	do func()
}

func (m *meanwhile) Txn(ctx context.Context, ops []consul.Op) ([]consul.Pair, error) {
	pairs, err := m.Client.Txn(ctx, ops)
	if do := m.do; err == nil && do != nil {
		m.do = nil
		do()
	}
	return pairs, err
}

// A service has a claim that it does not want as it is stored, of a submission of it that
// failed or has given the domain up. That takes the claim back while the next submission
// counts on it: the service is not stored without one.
func TestSubmit_ClaimIsGivenUpMeanwhile(t *testing.T) {
	f, s := openFake(t)
	indexes := claimed(t, s, withDomains("hello", 0))

	f.Put("wadi/domain/x.com", []byte(`{"schema":1,"kind":"domain","data":{"service":"hello"}}`))
	slow := store.New(&meddler{KV: s.Consul(), before: func() { f.Remove("wadi/domain/x.com") }}, "wadi", "slow", hclog.NewNullLogger())
	claimed(t, slow, withDomains("hello", indexes["hello"], "x.com"))
	taken(t, s, withDomains("late", 0, "x.com"), "x.com", "hello")
}
