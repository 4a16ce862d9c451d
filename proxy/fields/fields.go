// Package fields says which fields of HTTP's headers a proxy may trust or pass on.
//
// It promises to treat a name with underscores as the one with dashes: apps that get
// headers as variables can't distinguish the two. It knows names only, and changes nothing.
package fields

import (
	"net/textproto"
	"strings"
)

// ClientCert is the header with Envoy's description of its caller's certificate (XFCC).
const ClientCert = "X-Forwarded-Client-Cert"

// IsForwarding reports whether a field with this canonical name replaces what the connection
// shows of a request: its sender, address, host, path or scheme. Apps believe such fields,
// as a proxy in front of them is to set them.
func IsForwarding(name string) bool {
	if name == "" {
		return false
	}
	switch name[0] {
	case 'F', 'X', 'C', 'T', 'S', 'R', 'P': // The names below begin with these letters: a quick check.
	default:
		return false
	}
	if strings.IndexByte(name, '_') >= 0 {
		name = canonical(name)
	}
	switch name {
	case "Forwarded":
	// Fields for the caller's address,
	case "X-Real-Ip", "X-Client-Ip", "Client-Ip", "X-Cluster-Client-Ip", "X-Remote-Ip", "X-Remote-Addr", "X-Originating-Ip",
		"X-Original-Forwarded-For", "True-Client-Ip", "Cf-Connecting-Ip", "Cf-Connecting-Ipv6", "Fastly-Client-Ip", "Fly-Client-Ip",
		"X-Azure-Clientip", "X-Azure-Socketip", "X-Appengine-User-Ip":
	// the scheme that the caller used,
	case "Front-End-Https", "X-Scheme", "X-Url-Scheme", "X-Https", "Cloudfront-Forwarded-Proto", "Cf-Visitor":
	// the host and the path of the request,
	case "X-Original-Url", "X-Original-Uri", "X-Original-Host", "X-Original-Method", "X-Original-Path", "X-Rewrite-Url", "X-Host",
		"X-Http-Host-Override", "X-Script-Name", "Script-Name", "X-Envoy-Original-Path":
	// the caller's identity, by a proxy that has checked a password or a certificate,
	case "Remote-User", "X-Remote-User", "X-Remote-Group", "X-Webauth-User", "X-Authenticated-User", "X-Authenticated-Userid",
		"Client-Cert", "Client-Cert-Chain", "X-Client-Cert", "X-Client-Verify", "X-Arr-Clientcert":
	// and HTTP_PROXY, as CGI passes it on, which HTTP clients within the app obey.
	case "Proxy":
	default:
		return hasPrefix(name, "X-Forwarded-", "X-Envoy-", "X-Auth-Request-", "X-Ssl-Client-", "Ssl-Client-", "X-Remote-Extra-",
			"X-Amzn-Mtls-", "X-Amzn-Oidc-", "X-Goog-Authenticated-User-", "X-Ms-Client-Principal")
	}
	return true
}

// MayTrail reports whether a field may follow a body. Fields about framing, routing,
// authentication and forwarding may not (RFC 9110, section 6.5.1), nor Wadi's own. The
// name's case does not matter.
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

// canonical returns the key of a name in http.Header, with dashes only. It allocates
// nothing for a name that has this form already.
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
