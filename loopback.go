package wadi

import "net/netip"

// IsLoopback reports whether host, an IP address or a name without a port, is reached on
// this machine only: localhost, or a loopback address, IPv4 ones mapped into IPv6 included.
func IsLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
