package acme_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/acme"
	"github.com/wadi-run/wadi/internal/store"
)

var (
	t0    = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	rules = acme.Rules{Directory: "https://ca/dir", Challenges: []string{acme.HTTP, acme.TLSALPN}, MaxDomains: 100, OrdersPerHour: 10}
)

const day = 24 * time.Hour

// issued is a stored certificate of 90 days that was issued so long before t0.
func issued(domain string, ago time.Duration) store.Issued {
	return store.Issued{
		Certificate: store.Certificate{Domain: domain, Directory: rules.Directory, NotBefore: t0.Add(-ago), NotAfter: t0.Add(90*day - ago)},
		Order:       store.Order{Domain: domain},
	}
}

// failed is a stored order that failed n times.
func failed(domain, reason string, n int, next time.Time) store.Issued {
	return store.Issued{Order: store.Order{Domain: domain, Failures: n, Reason: reason, Error: "because", NextTry: next}}
}

func claimed(names ...string) map[string]string {
	out := map[string]string{}
	for _, n := range names {
		out[n] = "shop"
	}
	return out
}

// What is ordered, and when there is something to do again.
func TestMakePlan_Order(t *testing.T) {
	expired := issued("b.com", 91*day)
	other := issued("a.com", day)
	other.Certificate.Directory = "https://staging/dir"
	broken := failed("a.com", "DNS", 1, t0.Add(-time.Hour))
	broken.Unreadable = "of a newer Wadi"
	again := issued("a.com", 89*day)
	again.Order.Failures, again.Order.NextTry = 1, t0.Add(time.Minute)
	busy := store.Issued{Order: store.Order{Domain: "b.com", Began: t0.Add(-time.Minute)}}
	spent := store.Issued{Order: store.Order{Domain: "b.com", Unclaimed: t0}}
	for i := range 10 {
		spent.Order.Attempts = append(spent.Order.Attempts, t0.Add(time.Duration(i-50)*time.Minute))
	}
	for name, tt := range map[string]struct {
		known acme.Known
		order string
		wait  time.Duration // 0: there is none.
	}{
		"nothing is claimed": {acme.Known{}, "", 0},
		"a new domain":       {acme.Known{Claims: claimed("a.com")}, "a.com", 0},
		"the folder has it":  {acme.Known{Claims: claimed("a.com"), Folder: map[string]bool{"a.com": true}}, "", 0},
		"in the first half of its life": {acme.Known{Claims: claimed("a.com"), Stored: map[string]store.Issued{"a.com": issued("a.com", 10*day)}},
			"", 80*day - 30*day - spread(t, "a.com")},
		"late in its life":         {acme.Known{Claims: claimed("a.com"), Stored: map[string]store.Issued{"a.com": issued("a.com", 61*day)}}, "a.com", 0},
		"of another authority":     {acme.Known{Claims: claimed("a.com"), Stored: map[string]store.Issued{"a.com": other}}, "a.com", 0},
		"renewal before new":       {acme.Known{Claims: claimed("a.com", "z.com"), Stored: map[string]store.Issued{"z.com": issued("z.com", 70*day)}}, "z.com", 0},
		"new before failed":        {acme.Known{Claims: claimed("a.com", "b.com"), Stored: map[string]store.Issued{"a.com": failed("a.com", "DNS", 1, t0)}}, "b.com", 0},
		"expired is new":           {acme.Known{Claims: claimed("b.com"), Stored: map[string]store.Issued{"b.com": expired}}, "b.com", 0},
		"not before the next try":  {acme.Known{Claims: claimed("a.com"), Stored: map[string]store.Issued{"a.com": failed("a.com", "DNS", 1, t0.Add(time.Minute))}}, "", time.Minute},
		"a failed renewal waits":   {acme.Known{Claims: claimed("a.com"), Stored: map[string]store.Issued{"a.com": again}}, "", time.Minute},
		"unreadable is never lost": {acme.Known{Claims: claimed("a.com"), Stored: map[string]store.Issued{"a.com": broken}}, "", 0},
		"another is under way":     {acme.Known{Claims: claimed("a.com", "b.com"), Stored: map[string]store.Issued{"b.com": busy}}, "", 90 * time.Second},
		"the hour's orders are spent": {acme.Known{Claims: claimed("a.com"), Stored: map[string]store.Issued{"b.com": spent}},
			"", 10 * time.Minute},
		"the authority is away": {acme.Known{Claims: claimed("a.com", "b.com"),
			Stored: map[string]store.Issued{"b.com": failed("b.com", wadi.DomainAway, 1, t0.Add(time.Minute))}}, "", time.Minute},
	} {
		p := acme.MakePlan(rules, tt.known, t0)
		wait := time.Duration(0)
		if !p.Wait.IsZero() {
			wait = p.Wait.Sub(t0)
		}
		if p.Order != tt.order || wait != tt.wait {
			t.Errorf("%s: orders %q and waits %s, want %q and %s", name, p.Order, wait, tt.order, tt.wait)
		}
	}
}

// spread is by how much the renewal of a certificate of 90 days is earlier than a third.
func spread(t *testing.T, domain string) time.Duration {
	t.Helper()
	p := acme.MakePlan(rules, acme.Known{Claims: claimed(domain), Stored: map[string]store.Issued{domain: issued(domain, 0)}}, t0)
	s := t0.Add(60 * day).Sub(p.Domain[domain].Renewal)
	if s < 0 || s > 90*day/20 {
		t.Fatalf("%s is renewed %s earlier than when a third of its life is left", domain, s)
	}
	return s
}

// Certificates that were issued in one minute are not renewed in one.
func TestMakePlan_RenewalsAreSpread(t *testing.T) {
	first, last := 90*day, time.Duration(0)
	for i := range 50 {
		s := spread(t, fmt.Sprintf("d%d.example.com", i))
		first, last = min(first, s), max(last, s)
	}
	if last-first < 2*day {
		t.Errorf("50 renewals lie within %s", last-first)
	}
}

// Whatever is set, a certificate is not renewed in the first third of its life, and before
// it expires.
func TestMakePlan_RenewBefore(t *testing.T) {
	for _, before := range []time.Duration{0, time.Second, day, 30 * day, 89 * day, 365 * day} {
		r := rules
		r.RenewBefore = before
		at := acme.MakePlan(r, acme.Known{Claims: claimed("a.com"), Stored: map[string]store.Issued{"a.com": issued("a.com", 0)}}, t0).Domain["a.com"].Renewal
		if at.Before(t0.Add(30*day)) || !at.Before(t0.Add(90*day)) {
			t.Errorf("renew_before %s: renewed after %s", before, at.Sub(t0))
		}
	}
}

// Of more domains than may be, those that have a certificate keep it.
func TestMakePlan_TooMany(t *testing.T) {
	r := rules
	r.MaxDomains = 2
	p := acme.MakePlan(r, acme.Known{Claims: claimed("a.com", "b.com", "c.com", "d.com"),
		Folder: map[string]bool{"d.com": true}, Stored: map[string]store.Issued{"c.com": issued("c.com", day)}}, t0)
	got := map[string]wadi.DomainState{}
	for name, d := range p.Domain {
		got[name] = d.State
	}
	want := map[string]wadi.DomainState{
		"a.com": wadi.DomainOrdered, "b.com": wadi.DomainTooMany, "c.com": wadi.DomainIssued, "d.com": wadi.DomainFolder,
	}
	if diff := cmp.Diff(want, got); diff != "" || p.Order != "a.com" {
		t.Errorf("orders %q (-want +got):\n%s", p.Order, diff)
	}
}

// What is stored of a domain outlives its service for three days, and not what can't be
// read: that stays.
func TestMakePlan_Unclaimed(t *testing.T) {
	stored := map[string]store.Issued{"gone.com": issued("gone.com", day), "old.com": issued("old.com", day), "back.com": issued("back.com", day), "bad.com": {Unreadable: "x"}}
	since := func(name string, t time.Time) {
		i := stored[name]
		i.Order.Unclaimed = t
		stored[name] = i
	}
	since("old.com", t0.Add(-72*time.Hour))
	since("back.com", t0.Add(-71*time.Hour))
	p := acme.MakePlan(rules, acme.Known{Claims: claimed("back.com"), Stored: stored}, t0)
	want := []store.Order{{Domain: "back.com"}, {Domain: "gone.com", Unclaimed: t0}}
	if diff := cmp.Diff(want, p.Mark); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"old.com"}, p.Forget); diff != "" || p.Order != "" {
		t.Errorf("orders %q, forgets (-want +got):\n%s", p.Order, diff)
	}
}

// No hour has more than four failed checks of a domain: Let's Encrypt allows five. A day has
// some twenty.
func TestFail_WithinTheAuthoritysBounds(t *testing.T) {
	for reason, most := range map[string]int{wadi.DomainElsewhere: 4, wadi.DomainLimited: 1, wadi.DomainAway: 8} {
		var o store.Order
		var tries []time.Time
		for now := t0; now.Before(t0.Add(day)); now = o.NextTry {
			o = acme.Fail(acme.Begin(o, now), acme.Failure{Reason: reason, Text: "x"}, now)
			tries = append(tries, now)
			if !o.NextTry.After(now) {
				t.Fatalf("%s: the next try is at once", reason)
			}
			inHour := 0
			for _, at := range tries {
				if now.Sub(at) < time.Hour {
					inHour++
				}
			}
			if inHour > most || len(o.Attempts) != inHour {
				t.Fatalf("%s: %d tries in an hour, %d of them remembered, want %d at most", reason, inHour, len(o.Attempts), most)
			}
		}
		if len(tries) < 20 {
			t.Errorf("%s: %d tries in a day", reason, len(tries))
		}
	}
	o := acme.Fail(store.Order{}, acme.Failure{Reason: wadi.DomainLimited, RetryAfter: 5 * time.Hour}, t0)
	if got := o.NextTry.Sub(t0); got != 5*time.Hour {
		t.Errorf("the authority asks for 5h, the next try is after %s", got)
	}
	if got := acme.Fail(o, acme.Failure{RetryAfter: 1000 * time.Hour}, t0).NextTry.Sub(t0); got != day {
		t.Errorf("an authority holds a domain up for %s", got)
	}
}
