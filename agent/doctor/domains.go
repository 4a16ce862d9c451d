package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

const aboutDomainCerts = "certificates of domains"

// checkDomains judges the certificates that agents obtain. It names no domain, as that would
// name a service: the services' status does.
func (d *Doctor) checkDomains(ctx context.Context) []wadi.Finding {
	if d.Domains == nil {
		return nil
	}
	all, unusable, err := d.Domains(ctx)
	if err != nil {
		return []wadi.Finding{{Level: wadi.LevelWarn, About: aboutDomainCerts, What: "what is stored of them can't be read: " + err.Error(), Remedy: "see what is found about Consul"}}
	}
	return aboutDomains(all, unusable, time.Now())
}

// aboutDomains counts the domains by what they have come to.
func aboutDomains(all []wadi.Domain, unusable []string, now time.Time) (out []wadi.Finding) {
	add := func(level wadi.Level, what, remedy string) {
		out = append(out, wadi.Finding{Level: level, About: aboutDomainCerts, What: what, Remedy: remedy})
	}
	const named = "; the status of their services names them, with what to do"
	var without, failing []wadi.Domain
	good, waiting, tooMany := 0, 0, 0
	for _, d := range all {
		switch {
		case d.State == wadi.DomainRefused:
			without = append(without, d)
		case d.State == wadi.DomainIssued && d.Reason != "":
			failing = append(failing, d)
		case d.State == wadi.DomainIssued || d.State == wadi.DomainFolder:
			good++
		case d.State == wadi.DomainOrdered:
			waiting++
		case d.State == wadi.DomainTooMany:
			tooMany++
		}
	}
	if len(without) > 0 {
		add(wadi.LevelFail, fmt.Sprintf("%s without a certificate, as the last attempt failed (%s)%s", count(len(without)), reasonsOf(without), named), remedyOf(without))
	}
	if len(failing) > 0 {
		first := slices.MinFunc(failing, func(a, b wadi.Domain) int { return a.NotAfter.Compare(b.NotAfter) })
		level := wadi.LevelWarn
		if first.NotAfter.Sub(now) < expirySoon/2 {
			level = wadi.LevelFail
		}
		add(level, fmt.Sprintf("the renewal of %s fails (%s), the first expires on %s%s", wadi.Quantity(len(failing), "certificate"), reasonsOf(failing), day(first.NotAfter), named), remedyOf(failing))
	}
	if tooMany > 0 {
		add(wadi.LevelFail, count(tooMany)+" more than gateway.tls.acme.max_domains, and without a certificate", "raise it on all agents, or put certificates into gateway.tls.cert_dir")
	}
	if len(unusable) > 0 {
		add(wadi.LevelFail, fmt.Sprintf("%s can't be used by this agent: %s", wadi.Quantity(len(unusable), "stored certificate"), unusable[0]), "mend that; to have a new one ordered, delete the key certificate/DOMAIN below consul.prefix")
	}
	if waiting > 0 {
		add(wadi.LevelWarn, count(waiting)+" waiting for a first certificate", "look again in some minutes")
	}
	if good > 0 {
		add(wadi.LevelOK, wadi.Quantity(good, "domain")+wadi.Plural(good, " has one", " have one"), "")
	}
	return out
}

// count begins a sentence about n domains.
func count(n int) string { return wadi.Quantity(n, "domain") + wadi.Plural(n, " is", " are") }

// reasonsOf counts the reasons.
func reasonsOf(all []wadi.Domain) string {
	n := map[string]int{}
	for _, d := range all {
		n[d.Reason]++
	}
	var out []string
	for _, reason := range slices.Sorted(maps.Keys(n)) {
		out = append(out, fmt.Sprintf("%s: %d", reason, n[reason]))
	}
	return strings.Join(out, ", ")
}

// remedyOf is the remedy for all, if they have one reason.
func remedyOf(all []wadi.Domain) string {
	d := all[0]
	for _, o := range all {
		if o.Reason != d.Reason {
			return "wadi service status shows for each domain what to do"
		}
	}
	d.Name = "each of them"
	return d.Remedy()
}
