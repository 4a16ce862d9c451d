package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/consul/consultest"
	"github.com/wadi-run/wadi/internal/store"
)

// withDomains is a submission of a service that wants domains.
func withDomains(name string, index uint64, domains ...string) wadi.Submission {
	sp := spec(name, 0)
	sp.Service.Domains = domains
	return wadi.Submission{Spec: sp, Index: index}
}

// claimed submits, and wants it to be stored.
func claimed(t *testing.T, s *store.Store, all ...wadi.Submission) map[string]uint64 {
	t.Helper()
	indexes, err := s.Submit(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	return indexes
}

// taken submits, and wants another service to have one of the domains.
func taken(t *testing.T, s *store.Store, sub wadi.Submission, domain, holder string) {
	t.Helper()
	_, err := s.Submit(t.Context(), []wadi.Submission{sub})
	var got *wadi.DomainTakenError
	if !errors.As(err, &got) || !errors.Is(err, wadi.ErrConflict) {
		t.Fatalf("got %v, want a DomainTakenError", err)
	}
	if diff := cmp.Diff(&wadi.DomainTakenError{Domain: domain, Service: sub.Spec.Service.Name, Holder: holder}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, _, err := s.Spec(t.Context(), sub.Spec.Service.Name); sub.Index == 0 && !errors.Is(err, wadi.ErrNotFound) {
		t.Errorf("the loser was stored: %v", err)
	}
}

// del deletes a service as the API and then the leader do.
func del(t *testing.T, s *store.Store, name string) {
	t.Helper()
	_, index, err := s.Spec(t.Context(), name)
	if err == nil {
		err = s.MarkDeleting(t.Context(), name, index)
	}
	if err == nil {
		err = leader(t, s).Forget(t.Context(), name)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// openFake is a store with a Consul that the test can write directly.
func openFake(t *testing.T) (*consultest.Fake, *store.Store) {
	f := consultest.Start(t)
	return f, open(t, f.URL)
}

func testDomains(t *testing.T, s *store.Store) {
	a := claimed(t, s, withDomains("a", 0, "x.com", "y.com"))["a"]
	taken(t, s, withDomains("b", 0, "z.com", "x.com"), "x.com", "a")
	a = claimed(t, s, withDomains("a", a, "y.com", "w.com"))["a"] // Gives x.com up.
	b := claimed(t, s, withDomains("b", 0, "x.com"))["b"]
	taken(t, s, withDomains("a", a, "x.com"), "x.com", "b")
	// In one submission they may change hands.
	both := claimed(t, s, withDomains("a", a, "x.com", "w.com"), withDomains("b", b, "y.com"))
	taken(t, s, withDomains("c", 0, "x.com"), "x.com", "a")
	taken(t, s, withDomains("c", 0, "y.com"), "y.com", "b")
	if _, err := s.Submit(t.Context(), []wadi.Submission{withDomains("c", 0, "n.com"), withDomains("d", 0, "n.com")}); !errors.Is(err, wadi.ErrConflict) {
		t.Errorf("two of one submission: got %v", err)
	}
	claimed(t, s, withDomains("a", both["a"], "x.com", "w.com")) // The same again.

	_, index, err := s.Spec(t.Context(), "a")
	if err == nil {
		err = s.MarkDeleting(t.Context(), "a", index)
	}
	if err != nil {
		t.Fatal(err)
	}
	taken(t, s, withDomains("c", 0, "x.com"), "x.com", "a") // As long as it drains.
	if err := leader(t, s).Forget(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	claimed(t, s, withDomains("c", 0, "x.com", "w.com"))
	del(t, s, "b")
	del(t, s, "c")
	claimed(t, s, withDomains("last", 0, "x.com", "y.com", "w.com"))
}

// Of many that claim a domain at the same moment one gets it.
func testDomainsAtOnce(t *testing.T, s *store.Store) {
	const n = 20
	for round := range 5 {
		domain := fmt.Sprintf("d%d.com", round)
		var mu sync.Mutex
		var winners []string
		holders := map[string]int{}
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				name := fmt.Sprintf("s%d-%d", round, i)
				_, err := s.Submit(context.Background(), []wadi.Submission{withDomains(name, 0, domain, name+".com")})
				mu.Lock()
				defer mu.Unlock()
				var refused *wadi.DomainTakenError
				switch {
				case err == nil:
					winners = append(winners, name)
				case errors.As(err, &refused):
					holders[refused.Holder]++
				default:
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		wg.Wait()
		if len(winners) != 1 || holders[winners[0]] != n-1 {
			t.Fatalf("winners are %v, holders named are %v; want one, and all others to name it", winners, holders)
		}
		owners, err := s.Domains(t.Context())
		if err != nil || owners[domain] != winners[0] {
			t.Errorf("%s belongs to %s, %v; want %s", domain, owners[domain], err, winners[0])
		}
	}
}

// Claims that a service gave up are removed, and so are those of a deleted service.
func TestDomains_Released(t *testing.T) {
	f, s := openFake(t)
	claims := func() (out []string) {
		for _, k := range f.Keys() {
			if domain, ok := strings.CutPrefix(k, "wadi/domain/"); ok {
				out = append(out, domain)
			}
		}
		return out
	}
	index := claimed(t, s, withDomains("a", 0, "x.com", "y.com"))["a"]
	claimed(t, s, withDomains("b", 0, "b.com"))
	claimed(t, s, withDomains("a", index, "y.com"))
	if diff := cmp.Diff([]string{"b.com", "y.com"}, claims()); diff != "" {
		t.Errorf("after a change (-want +got):\n%s", diff)
	}
	del(t, s, "a")
	if diff := cmp.Diff([]string{"b.com"}, claims()); diff != "" {
		t.Errorf("after a deletion (-want +got):\n%s", diff)
	}
}

// A claim whose service does not exist or does not want it blocks no other service.
func TestDomains_VoidClaims(t *testing.T) {
	f, s := openFake(t)
	for name, service := range map[string]string{"gone.com": "gone", "unwanted.com": "there", "own.com": "mine"} {
		f.Put("wadi/domain/"+name, []byte(`{"schema":1,"kind":"domain","data":{"service":"`+service+`"}}`))
	}
	claimed(t, s, withDomains("there", 0, "there.com"))
	f.Put("wadi/domain/unwanted.com", []byte(`{"schema":1,"kind":"domain","data":{"service":"there"}}`))
	claimed(t, s, withDomains("mine", 0, "gone.com", "unwanted.com", "own.com"))
	for _, d := range []string{"gone.com", "unwanted.com", "own.com"} {
		taken(t, s, withDomains("other", 0, d), d, "mine")
	}
}

// A service of before there were claims gets its claims when it is next stored.
func TestDomains_BeforeClaims(t *testing.T) {
	f, s := openFake(t)
	index := claimed(t, s, withDomains("old", 0, "old.com"))["old"]
	f.Remove("wadi/domain/old.com")
	claimed(t, s, withDomains("old", index, "old.com"))
	taken(t, s, withDomains("other", 0, "old.com"), "old.com", "old")
}

func TestDomains_OfANewerWadi(t *testing.T) {
	f, s := openFake(t)
	f.Put("wadi/domain/x.com", []byte(`{"schema":9,"kind":"domain","data":{}}`))
	if _, err := s.Submit(t.Context(), []wadi.Submission{withDomains("a", 0, "x.com")}); err == nil || errors.Is(err, wadi.ErrConflict) {
		t.Errorf("got %v, want to be told of a newer Wadi", err)
	}
}

// The claim of a service that comes back while another takes it over stays its own.
func TestDomains_HolderComesBack(t *testing.T) {
	f, s := openFake(t)
	c, err := consul.New(consul.Config{Address: f.URL})
	if err != nil {
		t.Fatal(err)
	}
	for name, back := range map[string]func(){
		"stored anew": func() { claimed(t, s, withDomains("gone", 0, "x.com")) },
		"wants it again": func() {
			_, index, err := s.Spec(t.Context(), "there")
			if err != nil {
				t.Fatal(err)
			}
			claimed(t, s, withDomains("there", index, "y.com"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			domain, holder := "x.com", "gone"
			if name == "wants it again" {
				domain, holder = "y.com", "there"
				claimed(t, s, withDomains("there", 0))
			}
			f.Put("wadi/domain/"+domain, []byte(`{"schema":1,"kind":"domain","data":{"service":"`+holder+`"}}`))
			raced := store.New(&meddler{c, back}, "wadi/", "two", hclog.NewNullLogger())
			taken(t, raced, withDomains("thief", 0, domain), domain, holder)
		})
	}
}
