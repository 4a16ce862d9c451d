package server

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
)

// hostAllowed protects the API from pages whose host name resolves to it (DNS rebinding).
// A browser sends the name of the page, and a page at an address is no name that anybody
// can point here. A request without a Host is no browser's.
func (s *Server) hostAllowed(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || r.Host == "" {
		return true
	}
	host := hostOf(r.Host)
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback() || !isLoopback(local)
	}
	return host == "localhost" || slices.Contains(s.settings.Load().AllowedHosts, host) || s.HasName != nil && s.HasName(host)
}

// hostOf returns the name or address in a Host header, in lower case and without port.
func hostOf(header string) string {
	host := header
	if h, port, err := net.SplitHostPort(header); err == nil && strings.Trim(port, "0123456789") == "" {
		host = h
	}
	host = strings.Trim(host, "[]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func isLoopback(a net.Addr) bool {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return false
	}
	return wadi.IsLoopback(host)
}
