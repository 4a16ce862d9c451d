// Package fields knows the fields of HTTP's headers by what may be done with them.
//
// It promises to tell alike of a name with underscores for its dashes: apps that get
// headers as variables can't tell those apart. It knows names alone, and changes nothing.
package fields

import (
	"net/textproto"
	"strings"
)

// ClientCert is what an Envoy tells of its caller's certificate (XFCC).
const ClientCert = "X-Forwarded-Client-Cert"

// IsForwarding reports of a name as http.Header has it whether the field says, in the place of the connection that a
// request came by, who sent it, from where, or for what host, path or scheme. Apps
// believe it, since it is for a proxy in front of them to set.
func IsForwarding(name string) bool {
	if name == "" {
		return false
	}
	switch name[0] {
	case 'F', 'X', 'C', 'T', 'S', 'R', 'P': // What the names below begin with: a quick look.
	default:
		return false
	}
	if strings.IndexByte(name, '_') >= 0 {
		name = canonical(name)
	}
	switch name {
	case "Forwarded":
	// The caller's address.
	case "X-Real-Ip", "X-Client-Ip", "Client-Ip", "X-Cluster-Client-Ip", "X-Remote-Ip", "X-Remote-Addr", "X-Originating-Ip",
		"X-Original-Forwarded-For", "True-Client-Ip", "Cf-Connecting-Ip", "Cf-Connecting-Ipv6", "Fastly-Client-Ip", "Fly-Client-Ip",
		"X-Azure-Clientip", "X-Azure-Socketip", "X-Appengine-User-Ip":
	// The scheme that it used.
	case "Front-End-Https", "X-Scheme", "X-Url-Scheme", "X-Https", "Cloudfront-Forwarded-Proto", "Cf-Visitor":
	// The host and the path that it asked for.
	case "X-Original-Url", "X-Original-Uri", "X-Original-Host", "X-Original-Method", "X-Original-Path", "X-Rewrite-Url", "X-Host",
		"X-Http-Host-Override", "X-Script-Name", "Script-Name", "X-Envoy-Original-Path":
	// Who it is, as a proxy that has asked for a password or a certificate says.
	case "Remote-User", "X-Remote-User", "X-Remote-Group", "X-Webauth-User", "X-Authenticated-User", "X-Authenticated-Userid",
		"Client-Cert", "Client-Cert-Chain", "X-Client-Cert", "X-Client-Verify", "X-Arr-Clientcert":
	// As a variable it is HTTP_PROXY, which clients within the app go by.
	case "Proxy":
	default:
		return hasPrefix(name, "X-Forwarded-", "X-Envoy-", "X-Auth-Request-", "X-Ssl-Client-", "Ssl-Client-", "X-Remote-Extra-",
			"X-Amzn-Mtls-", "X-Amzn-Oidc-", "X-Goog-Authenticated-User-", "X-Ms-Client-Principal")
	}
	return true
}

// MayTrail reports whether a field may follow a body: not those by which a message is
// framed, sent to its place, judged or told on whose behalf it comes (RFC 9110,
// section 6.5.1), nor Wadi's own. The name's case does not matter.
func MayTrail(name string) bool {
	switch name = canonical(name); name {
	case "Content-Md5", "Content-Digest":
		return true
	case "", "Authorization", "Cache-Control", "Connection", "Cookie", "Expect", "Host", "Http2-Settings", "Keep-Alive", "Max-Forwards",
		"Pragma", "Range", "Realm", "Set-Cookie", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return false
	}
	return !hasPrefix(name, "Wadi-", "If-", "Proxy-", "Content-") && !IsForwarding(name)
}

func hasPrefix(name string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// canonical is the form of a name that http.Header has, with dashes alone. It costs
// nothing where that is what came.
func canonical(name string) string {
	return textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))
}

// IsToken reports whether b may stand in a token, such as a method or a field's name
// (RFC 9110, section 5.6.2).
func IsToken(b byte) bool {
	const low = 1<<'!' | 1<<'#' | 1<<'$' | 1<<'%' | 1<<'&' | 1<<'\'' | 1<<'*' | 1<<'+' | 1<<'-' | 1<<'.' | (1<<10-1)<<'0'
	const high = (1<<26-1)<<('A'-64) | 1<<('^'-64) | 1<<('_'-64) | 1<<('`'-64) | (1<<26-1)<<('a'-64) | 1<<('|'-64) | 1<<('~'-64)
	return (uint64(1)<<b)&low|(uint64(1)<<(b-64))&high != 0 // A shift by 64 or more gives 0.
}
