package wadi

import "time"

// DomainState is where a domain stands on its way to a certificate that the agents obtain.
type DomainState string

// The states of a domain.
const (
	DomainIssued   DomainState = "Issued"   // It has a certificate.
	DomainOrdered  DomainState = "Ordered"  // The first one is being obtained, or its turn comes.
	DomainRefused  DomainState = "Refused"  // The last attempt failed; there is none, or it has expired.
	DomainFolder   DomainState = "Folder"   // The operator's folder has a certificate for it.
	DomainTooMany  DomainState = "TooMany"  // The agents' bound of domains is reached.
	DomainUnstored DomainState = "Unstored" // What is stored of it can't be read.
)

// Domain is a custom domain of a service, as the leader sees its certificate.
type Domain struct {
	Name    string
	Service string
	State   DomainState

	NotAfter time.Time // Of its certificate, whatever the state; zero: there is none.
	Renewal  time.Time // When that is renewed, if nothing fails.

	// Reason, Error and NextTry are of the last attempt, if that failed: Reason in one
	// word, Error as the authority says it.
	Reason  string
	Error   string
	NextTry time.Time // When the next attempt begins, at the earliest.
}

// The reasons why an attempt to obtain a certificate failed.
const (
	DomainNoAddress   = "DNS"            // The domain has no address.
	DomainUnreachable = "Unreachable"    // Nobody answers there.
	DomainElsewhere   = "LeadsElsewhere" // Somebody else answers there.
	DomainCAA         = "CAA"            // The domain's CAA records name other authorities.
	DomainLimited     = "RateLimited"    // The authority's bound is reached.
	DomainRejected    = "Rejected"       // The authority gives no certificate for such a domain.
	DomainAccount     = "Account"        // The authority does not accept the account.
	DomainAway        = "AuthorityAway"  // The authority does not answer, or not as one.
	DomainOther       = "Failed"         // Anything else.
)

// Remedy is what an operator can do about the reason of a failed attempt.
func (d Domain) Remedy() string {
	switch d.Reason {
	case DomainNoAddress:
		return "give " + d.Name + " an address in the DNS: that of the gateway, or of what stands in front of it"
	case DomainUnreachable, DomainElsewhere:
		return "let " + d.Name + " lead to the gateway: its A and AAAA records, and ports 80 (http-01) or 443 (tls-alpn-01) as far as the agents"
	case DomainCAA:
		return "allow the authority in the CAA records of " + d.Name + ", or of the domain above it"
	case DomainLimited:
		return "wait; the authority's documentation says what its bounds are"
	case DomainRejected:
		return "use a domain that the authority gives certificates for, or put a certificate into gateway.tls.cert_dir"
	case DomainAccount:
		return "check gateway.tls.acme: email, eab_key_id, eab_mac_key_file, and what the authority says of the account"
	case DomainAway:
		return "check that agents reach gateway.tls.acme.directory, and trust its certificate (ca_file)"
	}
	return "the agents' log has more of it"
}
