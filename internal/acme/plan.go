package acme

import (
	"cmp"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/store"
)

// Known is what a plan is made of.
type Known struct {
	Claims map[string]string       // The service that claims a domain.
	Folder map[string]bool         // Domains that the operator's folder has certificates for.
	Stored map[string]store.Issued // By domain.
}

// Plan is what is to be done about certificates.
type Plan struct {
	Order  string    // The domain to order now; empty: none.
	Wait   time.Time // When there will be something to do, if nothing changes; zero: never.
	Forget []string  // Domains of which nothing is to be kept, sorted.
	Mark   []store.Order
	Domain map[string]wadi.Domain // All claimed ones.
}

// MakePlan decides what is to be done at now. It is a function of its arguments.
//
// A domain is due when it has no certificate of the authority, when its certificate is due
// for renewal, and, after a failure, not before the next try. Of those that are due
// certificates to be renewed come first, the one that expires first before the others; then
// domains that were never tried; then failed ones, the one that waited longest first. An
// attempt that is under way, a bound of orders in the last hour, and an authority that can't
// be reached hold up all of them.
func MakePlan(r Rules, k Known, now time.Time) Plan {
	p := Plan{Domain: map[string]wadi.Domain{}}
	for _, name := range slices.Sorted(maps.Keys(k.Stored)) {
		p.unclaimed(name, k, now)
	}
	var due []candidate
	for i, name := range served(k) {
		d, c := judge(r, k, name, now)
		if i >= r.MaxDomains && d.State != wadi.DomainFolder && d.State != wadi.DomainUnstored {
			d.State, c = wadi.DomainTooMany, nil
		}
		p.Domain[name] = d
		if c == nil {
			continue
		}
		if c.at.After(now) {
			p.wake(c.at)
			continue
		}
		due = append(due, *c)
	}
	if len(due) == 0 {
		return p
	}
	if until := held(r, k, now); until.After(now) {
		p.wake(until)
		return p
	}
	p.Order = slices.MinFunc(due, compare).name
	return p
}

// wake makes the plan due at t too.
func (p *Plan) wake(t time.Time) {
	if p.Wait.IsZero() || t.Before(p.Wait) {
		p.Wait = t
	}
}

// unclaimed decides what becomes of what is stored of a domain, if no service claims it.
// What can't be read stays: a newer Wadi may need it.
func (p *Plan) unclaimed(name string, k Known, now time.Time) {
	i := k.Stored[name]
	o := i.Order
	o.Domain = name
	_, claimed := k.Claims[name]
	switch {
	case i.Unreadable != "":
	case claimed && !o.Unclaimed.IsZero():
		o.Unclaimed = time.Time{}
		p.Mark = append(p.Mark, o)
	case claimed:
	case o.Unclaimed.IsZero():
		o.Unclaimed = now
		p.Mark = append(p.Mark, o)
	case now.Sub(o.Unclaimed) >= keepUnclaimed:
		p.Forget = append(p.Forget, name)
	default:
		p.wake(o.Unclaimed.Add(keepUnclaimed))
	}
}

// served are the claimed domains, in the order in which the bound of their number takes
// them: first those that have a certificate.
func served(k Known) []string {
	return slices.SortedFunc(maps.Keys(k.Claims), func(a, b string) int {
		return cmp.Or(-compareBool(k.Stored[a].Certificate.Domain != "", k.Stored[b].Certificate.Domain != ""), cmp.Compare(a, b))
	})
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// candidate is a domain that is due at some time.
type candidate struct {
	name  string
	class int // The lowest goes first.
	at    time.Time
	first time.Time // Within a class the earliest goes first.
}

const (
	classRenewal = iota
	classNew
	classFailed
)

func compare(a, b candidate) int {
	return cmp.Or(cmp.Compare(a.class, b.class), a.first.Compare(b.first), cmp.Compare(a.name, b.name))
}

// judge says where a domain stands, and when it is to be ordered; nil: not at all.
func judge(r Rules, k Known, name string, now time.Time) (wadi.Domain, *candidate) {
	i := k.Stored[name]
	cert, o := i.Certificate, i.Order
	d := wadi.Domain{Name: name, Service: k.Claims[name], State: wadi.DomainOrdered}
	if i.Unreadable != "" {
		d.State, d.Reason, d.Error = wadi.DomainUnstored, "Unreadable", i.Unreadable
		return d, nil
	}
	usable := cert.Domain != "" && now.Before(cert.NotAfter)
	d.NotAfter = cert.NotAfter
	if k.Folder[name] {
		d.State, d.NotAfter = wadi.DomainFolder, time.Time{}
		return d, nil
	}
	c := &candidate{name: name, class: classNew}
	if usable {
		d.State = wadi.DomainIssued
		if cert.Directory == r.Directory {
			d.Renewal = renewal(r, cert)
			c.at, c.first, c.class = d.Renewal, cert.NotAfter, classRenewal
		}
	}
	if o.Failures > 0 {
		if !usable {
			d.State = wadi.DomainRefused
		}
		d.Reason, d.Error, d.NextTry = o.Reason, o.Error, o.NextTry
		c.class, c.first = classFailed, o.NextTry
		if o.NextTry.After(c.at) {
			c.at = o.NextTry
		}
	}
	return d, c
}

// renewal is when a certificate is renewed: at the time that is set, or when a third of its
// life is left, earlier by up to a twentieth of its life so that certificates of one day are
// not renewed in one minute. It is never in the first third of its life.
func renewal(r Rules, c store.Certificate) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	before := cmp.Or(r.RenewBefore, life/3)
	h := fnv.New32a()
	_, _ = h.Write([]byte(c.Domain)) // It does not fail.
	spread := life / 20 / 1000 * time.Duration(h.Sum32()%1000)
	at := c.NotAfter.Add(-before - spread)
	if earliest := c.NotBefore.Add(life / 3); at.Before(earliest) {
		return earliest
	}
	return at
}

// held is until when nothing is ordered.
func held(r Rules, k Known, now time.Time) (until time.Time) {
	hold := func(t time.Time) {
		if t.After(until) {
			until = t
		}
	}
	var lately []time.Time // Attempts of the last hour.
	for name, i := range k.Stored {
		o := i.Order
		if !o.Began.IsZero() {
			hold(o.Began.Add(orderGone))
		}
		if _, claimed := k.Claims[name]; claimed && o.Failures > 0 && o.Reason == wadi.DomainAway {
			hold(o.NextTry)
		}
		for _, t := range o.Attempts {
			if now.Sub(t) < time.Hour {
				lately = append(lately, t)
			}
		}
	}
	if over := len(lately) - r.OrdersPerHour; over >= 0 {
		slices.SortFunc(lately, time.Time.Compare)
		hold(lately[over].Add(time.Hour))
	}
	return until
}

// maxAttempts bounds the attempts that are remembered of a domain. The least pause between
// two lets no more be made in an hour.
const maxAttempts = 64

// Begin is a domain's order when an attempt begins at now.
func Begin(o store.Order, now time.Time) store.Order {
	o.Began = now
	o.Attempts = append(slices.DeleteFunc(slices.Clone(o.Attempts), func(t time.Time) bool { return now.Sub(t) >= time.Hour }), now)
	if n := len(o.Attempts); n > maxAttempts {
		o.Attempts = o.Attempts[n-maxAttempts:]
	}
	return o
}

// Succeed is a domain's order when its attempt has succeeded.
func Succeed(o store.Order) store.Order {
	return store.Order{Domain: o.Domain, Attempts: o.Attempts, Unclaimed: o.Unclaimed}
}

// Fail is a domain's order when its attempt has failed at now. The pause doubles with each
// failure in a row: from a minute to a quarter of an hour when the authority can't be
// reached, else from five minutes to an hour, so that an hour has at most four failed checks
// (Let's Encrypt allows five). The authority may ask for more, up to a day.
func Fail(o store.Order, f Failure, now time.Time) store.Order {
	o.Began = time.Time{}
	o.Failures++
	o.Reason, o.Error = f.Reason, f.Text
	first, longest := 5*time.Minute, time.Hour
	switch f.Reason {
	case wadi.DomainAway:
		first, longest = time.Minute, 15*time.Minute
	case wadi.DomainLimited:
		first = time.Hour
	}
	pause := min(first<<min(o.Failures-1, 10), longest)
	o.NextTry = now.Add(max(pause, min(f.RetryAfter, 24*time.Hour)))
	return o
}
