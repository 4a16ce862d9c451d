package registry

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// reach says from where an address can be reached.
type reach int

const (
	public   reach = iota
	private        // Of some network; also what is reserved, and may mean anything.
	loopback       // Of this machine.
	never          // Link-local, multicast and unspecified addresses, and those of a cloud's metadata.
)

// networks of a reach each; the first that has an address counts.
type network struct {
	netip.Prefix
	reach reach
}

// special are the networks that are not public, besides those that netip knows.
func special() []network {
	var out []network
	for _, n := range []struct {
		reach reach
		all   string
	}{
		{never, "169.254.0.0/16 168.63.129.16/32 100.100.100.200/32 192.0.0.192/32 fd00:ec2::254/128 fd20:ce::254/128 " + // Metadata of clouds.
			"0.0.0.0/8 224.0.0.0/4 240.0.0.0/4 fe80::/10 ff00::/8 ::/128"},
		{loopback, "127.0.0.0/8 ::1/128"},
		{private, "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15 " +
			"198.51.100.0/24 203.0.113.0/24 fc00::/7 fec0::/10 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 3fff::/20 5f00::/16 ::/8"},
	} {
		for text := range strings.FieldsSeq(n.all) {
			out = append(out, network{netip.MustParsePrefix(text), n.reach})
		}
	}
	return out
}

// reachOf judges an address, and the IPv4 address that it may stand for.
func reachOf(a netip.Addr) reach {
	a = inner(a)
	for _, n := range special() {
		if n.Contains(a) {
			return n.reach
		}
	}
	return public
}

// inner is the IPv4 address that an IPv6 one stands for: mapped, compatible, by NAT64, by
// SIIT, or 6to4. Any other address is itself. The zone is dropped.
func inner(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a
	}
	b := a.As16()
	last := netip.AddrFrom4([4]byte(b[12:]))
	for _, p := range []string{"64:ff9b::/96", "::ffff:0:0:0/96"} {
		if netip.MustParsePrefix(p).Contains(a) {
			return last
		}
	}
	switch {
	case netip.MustParsePrefix("2002::/16").Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case netip.MustParsePrefix("::/96").Contains(a) && a != netip.IPv6Loopback() && a != netip.IPv6Unspecified():
		return last
	}
	return a
}

// addressError says that an address may not be dialled.
type addressError struct {
	host  string // As it was asked for.
	reach reach
	own   bool // It is the registry itself.
}

func (e *addressError) Error() string {
	what := map[reach]string{
		private: "an address of a private network", loopback: "an address of the agent's own machine",
		never: "a link-local address, or one of a cloud's metadata",
	}[e.reach]
	return fmt.Sprintf("%.100s is at %s", e.host, what)
}

// checkAddress judges an address at which a host is about to be dialled. own: the host is the
// one that the image names as its registry.
func (l *loaded) checkAddress(host string, a netip.Addr, own bool) error {
	plain := a.Unmap().WithZone("")
	if slices.ContainsFunc(l.AllowNetworks, func(p netip.Prefix) bool { return p.Contains(plain) || p.Contains(inner(a)) }) {
		return nil
	}
	r := reachOf(a)
	if r == public || own && r == private || own && r == loopback && namesLoopback(host) {
		return nil
	}
	return &addressError{host: host, reach: r, own: own}
}

// namesLoopback reports whether a host says itself that it is this machine. A name of DNS that
// leads here does not: whoever makes the name would choose what is asked.
func namesLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && reachOf(a) == loopback
}
