package jobspecs

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/wadi-run/wadi"
)

var (
	label     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	nomadName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,128}$`)
	// consulName is more than a DNS label: callers may be other services than Wadi's.
	consulName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,126}[a-zA-Z0-9])?$`)
	revision   = regexp.MustCompile(`-[0-9]{5,}$`)
)

// maxName is the longest name of a service: with a tag or a revision's number added, it is
// still a DNS label.
const maxName = 40

func checkName(s string) error {
	switch {
	case s == "":
		return errors.New("a service needs a name")
	case len(s) > maxName:
		return fmt.Errorf("%.50q has %d characters, at most %d are allowed", s, len(s), maxName)
	case !label.MatchString(s):
		return fmt.Errorf("%q is no DNS label; use lower-case letters, digits and hyphens, with a letter or digit at both ends", s)
	case revision.MatchString(s):
		return fmt.Errorf("%q ends like the name of a revision; don't end it in a hyphen and five digits", s)
	case strings.HasPrefix(s, "wadi"):
		return fmt.Errorf("%q begins with \"wadi\", which is reserved for Wadi itself", s)
	}
	return nil
}

func checkUpstream(s string) error {
	if len(s) > 63 || !label.MatchString(s) {
		return fmt.Errorf("%.70q can't be the name of a service in the mesh; use lower-case letters, digits and hyphens", s)
	}
	return nil
}

func checkNomadName(s string) error {
	if !nomadName.MatchString(s) {
		return fmt.Errorf("%q can't be a name in Nomad; use 1 to 128 letters, digits, hyphens and underscores", s)
	}
	return nil
}

func checkDomain(s string) error {
	if len(s) > 253 {
		return fmt.Errorf("%.20q… has %d characters, a host name may have 253", s, len(s))
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return fmt.Errorf("%q is an address; a host name is required", s)
	}
	for part := range strings.SplitSeq(s, ".") {
		if len(part) > 63 || !label.MatchString(part) {
			return fmt.Errorf("%q is no host name; use lower-case letters, digits and hyphens between dots, without port or wildcard", s)
		}
	}
	return nil
}

func checkTarget(id, service string) error {
	if id == wadi.Latest {
		return nil
	}
	if of, n, ok := wadi.SplitRevisionID(id); !ok || n == 0 || of != service || id != wadi.RevisionID(of, n) {
		return fmt.Errorf("%q is no revision of this service; write \"latest\" or an ID like %q", id, wadi.RevisionID(service, 1))
	}
	return nil
}

func notEmpty(s string) error {
	if strings.TrimSpace(s) == "" {
		return errors.New("must not be empty")
	}
	return checkPlain(s)
}

// checkPath accepts the path of a URL as it is sent. Nomad would interpolate a "${".
func checkPath(s string) error {
	if !strings.HasPrefix(s, "/") {
		return fmt.Errorf("%q must begin with /", s)
	}
	if strings.ContainsAny(s, " #") {
		return fmt.Errorf("%q holds a space or #; escape it as in a URL", s)
	}
	return checkPlain(s)
}

// checkQuiet accepts a path as it is compared with those of requests, which are decoded and
// have no query.
func checkQuiet(s string) error {
	if !strings.HasPrefix(s, "/") {
		return fmt.Errorf("%q must begin with /", s)
	}
	if strings.ContainsAny(s, "?#%") {
		return fmt.Errorf("%q holds ?, # or a percent sign, and is compared with the decoded path of a request, without its query; write that", s)
	}
	return checkPlain(s)
}

func checkPlain(s string) error {
	if strings.Contains(s, "${") || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return fmt.Errorf("%q holds control characters or ${", s)
	}
	return nil
}

// reservedPort is the user of a port inside an instance; empty if the port is free.
func reservedPort(p int) string {
	switch {
	case p == wadi.BridgeTrafficPort, p == wadi.BridgeAdminPort, p == wadi.BridgeMetricsPort:
		return "the queue-proxy"
	case p >= 19000 && p <= 19100:
		return "Envoy (19000 to 19100)"
	}
	return ""
}
