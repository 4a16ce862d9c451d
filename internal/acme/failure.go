package acme

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/wadi-run/wadi"
)

// Failure is why an attempt failed.
type Failure struct {
	Reason     string
	Text       string        // One line, of bounded length.
	RetryAfter time.Duration // As the authority asks; 0: it does not.
}

// reasons are those of the authority's types of errors (RFC 8555, section 6.7), without
// their common prefix.
var reasons = map[string]string{
	"dns":                     wadi.DomainNoAddress,
	"connection":              wadi.DomainUnreachable,
	"tls":                     wadi.DomainUnreachable,
	"unauthorized":            wadi.DomainElsewhere,
	"incorrectResponse":       wadi.DomainElsewhere,
	"caa":                     wadi.DomainCAA,
	"rateLimited":             wadi.DomainLimited,
	"rejectedIdentifier":      wadi.DomainRejected,
	"unsupportedIdentifier":   wadi.DomainRejected,
	"accountDoesNotExist":     wadi.DomainAccount,
	"externalAccountRequired": wadi.DomainAccount,
	"userActionRequired":      wadi.DomainAccount,
	"invalidContact":          wadi.DomainAccount,
	"unsupportedContact":      wadi.DomainAccount,
	"serverInternal":          wadi.DomainAway,
}

// failureOf says what an error of an attempt means.
func failureOf(err error, retryAfter time.Duration) Failure {
	f := Failure{Reason: wadi.DomainAway, Text: err.Error(), RetryAfter: retryAfter}
	var p acme.Problem
	var pp *acme.Problem
	if errors.As(err, &pp) && pp != nil {
		p = *pp
	} else if !errors.As(err, &p) {
		var own authorityError
		switch {
		case errors.As(err, &own):
			f.Reason = wadi.DomainOther
		case errors.Is(err, context.DeadlineExceeded):
			f.Text = "the authority has not finished in time: " + f.Text
		}
		f.Text = wadi.OneLine(f.Text, maxError)
		return f
	}
	f.Reason = wadi.DomainOther
	kind := p.Type[strings.LastIndexByte(p.Type, ':')+1:]
	if r, ok := reasons[kind]; ok {
		f.Reason = r
	}
	// The account is refused, not the domain, unless the error is an authorization's.
	if kind == "unauthorized" && p.Resource == nil {
		f.Reason = wadi.DomainAccount
	}
	f.Text = p.Detail
	for _, s := range p.Subproblems {
		f.Text += "; " + s.Identifier.Value + ": " + s.Detail
	}
	if f.Text == "" {
		f.Text = p.Type
	}
	f.Text = wadi.OneLine(f.Text, maxError)
	return f
}

// authorityError is about an authority that does not do as RFC 8555 says.
type authorityError struct{ text string }

func (e authorityError) Error() string { return e.text }
