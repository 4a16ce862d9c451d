package acme_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	problem "github.com/mholt/acmez/v3/acme"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/acme"
	"github.com/wadi-run/wadi/internal/store"
)

// A year of one domain: it is ordered when it is claimed, renewed in time, and once each
// time.
func TestOrderer_RenewsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeader(newKept(), claimed("a.com"))
		defer l.run(t)()
		synctest.Wait()
		if got := l.ca.orders(); len(got) != 1 || l.tellings() == 0 {
			t.Fatalf("orders %v, told %d times", got, l.tellings())
		}
		for month := range 12 {
			time.Sleep(30 * day)
			c := l.kept.of("a.com").Certificate
			if left := time.Until(c.NotAfter); left < 20*day {
				t.Errorf("after %d months the certificate has %s left", month+1, left)
			}
		}
		if n := len(l.ca.orders()); n < 6 || n > 7 {
			t.Errorf("%d orders in a year", n)
		}
		if l.ca.registered() != 1 {
			t.Errorf("%d accounts", l.ca.registered())
		}
		if d, known := l.Domain("a.com"); !known || d.State != wadi.DomainIssued || d.NotAfter.IsZero() {
			t.Errorf("got %+v", d)
		}
	})
}

// The authority is away for long: the old certificate stays, and the status says why it is
// not renewed, and when the next try is. When it is back, so is everything.
func TestOrderer_AuthorityAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeader(newKept(), claimed("a.com"))
		defer l.run(t)()
		time.Sleep(55 * day)
		first := l.kept.of("a.com").Certificate
		l.ca.set(func() { l.ca.err = &net.OpError{Op: "dial", Err: errors.New("no route to host")} })
		time.Sleep(20 * day)
		d, _ := l.Domain("a.com")
		if d.State != wadi.DomainIssued || d.Reason != wadi.DomainAway || !strings.Contains(d.Error, "no route") || !d.NextTry.After(time.Now()) {
			t.Errorf("got %+v", d)
		}
		if l.kept.of("a.com").Certificate != first {
			t.Error("the old certificate is gone")
		}
		time.Sleep(20 * day)
		if d, _ := l.Domain("a.com"); d.State != wadi.DomainRefused {
			t.Errorf("expired, and got %+v", d)
		}
		l.ca.set(func() { l.ca.err = nil })
		time.Sleep(20 * time.Minute)
		if d, _ := l.Domain("a.com"); d.State != wadi.DomainIssued || d.Reason != "" || d.Error != "" {
			t.Errorf("the authority is back, and got %+v", d)
		}
	})
}

// Failures of one domain hold up no other, its challenges are tried in turn, and there are
// not more orders in an hour than may be.
func TestOrderer_Failures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		claims := map[string]string{}
		for i := range 30 {
			claims[fmt.Sprintf("d%02d.com", i)] = "shop"
		}
		l := newLeader(newKept(), claims)
		l.ca.err = problem.Problem{Type: problem.ProblemTypeUnauthorized, Detail: "wrong answer", Resource: problem.Authorization{}}
		defer l.run(t)()
		time.Sleep(day)
		for i, at := range l.ca.times() {
			if n := i - rules.OrdersPerHour; n >= 0 && at.Sub(l.ca.times()[n]) < time.Hour {
				t.Fatalf("more than %d orders in an hour, at %s", rules.OrdersPerHour, at)
			}
		}
		kinds, tried := map[string]bool{}, map[string]bool{}
		for _, ask := range l.ca.asks() {
			tried[ask.Domain] = true
			if ask.Domain == "d00.com" {
				kinds[ask.Challenge] = true
			}
		}
		if len(tried) != 30 || len(kinds) != 2 {
			t.Errorf("tried %d domains, one by %v", len(tried), kinds)
		}
		d, _ := l.Domain("d00.com")
		if d.State != wadi.DomainRefused || d.Reason != wadi.DomainElsewhere || d.Error != "wrong answer" {
			t.Errorf("got %+v", d)
		}
		if !strings.Contains(d.Remedy(), "d00.com") {
			t.Errorf("remedy %q", d.Remedy())
		}
	})
}

// A leader that ends in the middle of an attempt, by itself or by force, causes no second
// order before the first is surely over.
func TestOrderer_AnotherLeader(t *testing.T) {
	for name, killed := range map[string]bool{"stops": false, "is killed": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept()
				first := newLeader(k, claimed("a.com"))
				first.ca.hold = make(chan struct{})
				stop := first.run(t)
				synctest.Wait()
				if killed {
					k.setFail(wadi.ErrNotLeading) // Nothing that it writes arrives.
				}
				stop()
				k.setFail(nil)
				second := newLeader(k, claimed("a.com"))
				defer second.run(t)()
				time.Sleep(time.Second)
				if got := len(second.ca.orders()); got != map[bool]int{true: 0, false: 1}[killed] {
					t.Fatalf("%d orders of the second leader at once", got)
				}
				time.Sleep(3 * time.Minute)
				if got := len(second.ca.orders()); got != 1 || k.of("a.com").Certificate.Domain == "" {
					t.Errorf("%d orders of the second leader", got)
				}
			})
		})
	}
}

// Nothing is ordered while it can't be stored that it is: a leader that leads no more, or
// that Consul does not answer, orders nothing.
func TestOrderer_OrdersNothingUnstored(t *testing.T) {
	for _, why := range []error{wadi.ErrNotLeading, wadi.ErrUnavailable, wadi.ErrOwnRight} {
		synctest.Test(t, func(t *testing.T) {
			l := newLeader(newKept(), claimed("a.com"))
			l.kept.setFail(why)
			defer l.run(t)()
			time.Sleep(time.Hour)
			if got := l.ca.orders(); len(got) > 0 {
				t.Errorf("%v: orders %v", why, got)
			}
			l.kept.setFail(nil)
			time.Sleep(2 * time.Minute)
			if got := l.ca.orders(); len(got) != 1 {
				t.Errorf("%v is over: orders %v", why, got)
			}
		})
	}
}

// A certificate without a service is renewed no more, is forgotten after three days, and is
// there without an order for a service that comes back before.
func TestOrderer_ServiceGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeader(newKept(), claimed("a.com"))
		defer l.run(t)()
		time.Sleep(time.Minute)
		l.claim(nil)
		time.Sleep(70 * time.Hour)
		l.claim(claimed("a.com"))
		time.Sleep(time.Minute)
		if d, _ := l.Domain("a.com"); d.State != wadi.DomainIssued || len(l.ca.orders()) != 1 {
			t.Errorf("back after 70 hours: %+v, orders %v", d, l.ca.orders())
		}
		l.claim(nil)
		time.Sleep(71 * time.Hour)
		if l.kept.of("a.com").Certificate.Domain == "" {
			t.Error("forgotten too soon")
		}
		time.Sleep(2 * time.Hour)
		if all, _ := l.kept.Issued(t.Context()); len(all) != 0 {
			t.Errorf("still stored: %v", all)
		}
		if _, known := l.Domain("a.com"); known {
			t.Error("it is still known")
		}
	})
}

// An authority that never answers costs two minutes, and then the next domain has its turn.
func TestOrderer_AuthorityHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeader(newKept(), claimed("a.com", "b.com"))
		l.ca.hold = make(chan struct{})
		defer l.run(t)()
		time.Sleep(2*time.Minute + time.Second)
		d, _ := l.Domain("a.com")
		if d.Reason != wadi.DomainAway || !strings.Contains(d.Error, "in time") {
			t.Errorf("got %+v", d)
		}
		time.Sleep(2 * time.Minute)
		if got := l.ca.orders(); !slices.Equal(got, []string{"a.com", "b.com"}) {
			t.Errorf("orders %v", got)
		}
		if all := l.kept.pending(); all > 1 {
			t.Errorf("%d challenges are left", all)
		}
	})
}

// The account that the authority does not know any more is made again, in the same attempt.
func TestOrderer_AccountLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept()
		l := newLeader(k, claimed("a.com"))
		l.Issuer = &forgetful{authority: l.ca}
		defer l.run(t)()
		time.Sleep(time.Second)
		if l.ca.registered() != 2 || k.of("a.com").Certificate.Domain == "" || k.of("a.com").Order.Failures != 0 {
			t.Errorf("%d accounts, %+v", l.ca.registered(), k.of("a.com").Order)
		}
	})
}

// forgetful forgets the first account.
type forgetful struct {
	*authority
	again bool
}

func (f *forgetful) Obtain(ctx context.Context, ask acme.Ask, present func(context.Context, string, string) error) ([]byte, error) {
	if !f.again {
		f.again = true
		return nil, fmt.Errorf("order: %w", problem.Problem{Type: problem.ProblemTypeAccountDoesNotExist})
	}
	return f.authority.Obtain(ctx, ask, present)
}

// Keys that this leader can't open are another's: it does not order in their place.
func TestOrderer_EncryptedByOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept()
		_ = k.PutCertificate(t.Context(), store.Certificate{Domain: "a.com", Directory: rules.Directory, Key: "aes256gcm:AAAA"}, store.Order{Domain: "a.com"})
		l := newLeader(k, claimed("a.com"))
		defer l.run(t)()
		time.Sleep(day)
		d, _ := l.Domain("a.com")
		if d.State != wadi.DomainUnstored || !strings.Contains(d.Error, "encryption_key_file") || len(l.ca.orders()) != 0 {
			t.Errorf("got %+v, orders %v", d, l.ca.orders())
		}
	})
}
