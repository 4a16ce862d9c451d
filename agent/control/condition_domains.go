package control

import (
	"fmt"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

// ConditionCertificate begins the type of the condition about the certificate of a domain,
// which ends with the domain. There is one for each domain of a service where agents obtain
// certificates.
const ConditionCertificate = "Certificate/"

// DomainReports know what has become of the certificates that agents obtain.
type DomainReports interface {
	// Domain is what is known of a domain; known is false where nothing is.
	Domain(name string) (d wadi.Domain, known bool)
}

// refreshDomains notes how far the certificates of a service's domains are.
func (c *Controller) refreshDomains(s *service) {
	s.domains = nil
	if c.Observers.Domains == nil || s.Deleting || s.Service.Visibility != wadi.Public {
		return
	}
	for _, name := range s.Service.Domains {
		if d, known := c.Observers.Domains.Domain(name); known && d.Service == s.Service.Name {
			s.domains = append(s.domains, d)
		}
	}
}

// domainConditions says of each domain whether it has a certificate, until when, and why
// not. It does not concern readiness: without a certificate the domain answers plain HTTP.
func domainConditions(s *service) (all []wadi.Condition) {
	for _, d := range s.domains {
		c := wadi.Condition{Type: ConditionCertificate + d.Name, Reason: string(d.State)}
		switch d.State {
		case wadi.DomainIssued:
			c.OK, c.Message = true, "until "+minute(d.NotAfter)
			switch {
			case d.Reason != "":
				c.Reason, c.Message = "RenewalFailed", c.Message+"; it can't be renewed: "+failedText(d)
			case !d.Renewal.IsZero():
				c.Message += ", renewed from " + minute(d.Renewal)
			}
		case wadi.DomainFolder:
			c.OK, c.Message = true, "the operator's folder has one, gateway.tls.cert_dir"
		case wadi.DomainOrdered:
			c.Message = "the first one is being obtained, or its turn comes"
		case wadi.DomainTooMany:
			c.Message = "none is obtained: there are more domains than the agents allow; raise gateway.tls.acme.max_domains"
		case wadi.DomainUnstored:
			c.Message = "what is stored of it can't be used, and stays: " + d.Error
		default:
			c.Reason, c.Message = d.Reason, "there is none: "
			if !d.NotAfter.IsZero() {
				c.Message = "it expired on " + minute(d.NotAfter) + ": "
			}
			c.Message += failedText(d)
		}
		all = append(all, c)
	}
	return all
}

// failedText is why the last attempt failed, when the next is, and last what to do.
func failedText(d wadi.Domain) string {
	why := d.Reason
	if d.Error != "" {
		why += ": " + strings.TrimSuffix(d.Error, ".")
	}
	return fmt.Sprintf("%s; the next try is at %s; %s", why, minute(d.NextTry), d.Remedy())
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
