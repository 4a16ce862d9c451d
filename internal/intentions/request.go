package intentions

import (
	"net/http"
	"net/textproto"
	"strings"
)

// Request is the part of a request that L7 intentions are about.
type Request struct {
	Method string
	Host   string
	Path   string // As on the wire, without the query.
	Header http.Header
}

// Of describes a request that a server received, as it would be forwarded.
func Of(r *http.Request) Request {
	path := r.RequestURI
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		path = r.URL.EscapedPath() // Such targets are rewritten when they are forwarded.
	}
	path, _, _ = strings.Cut(path, "?")
	return Request{Method: r.Method, Host: r.Host, Path: path, Header: r.Header}
}

// header returns a header's value as Envoy compares it, several joined. name is in lower
// case. there is maybe if an instance's Envoy may see another value.
func (r *Request) header(name string) (value string, found match) {
	switch name {
	case ":method":
		return r.Method, yes
	case ":authority", "host":
		return r.Host, yes
	case "x-forwarded-proto", "x-request-id": // Envoy adds a missing one.
		if r.Header[textproto.CanonicalMIMEHeaderKey(name)] == nil {
			return "", maybe
		}
	case "cookie": // The way in which several are joined depends on the protocol.
		if len(r.Header["Cookie"]) > 1 {
			return "", maybe
		}
	case "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
		"x-forwarded-client-cert":
		return "", maybe // Belong to a connection, or are rewritten.
	}
	if strings.HasPrefix(name, ":") || strings.HasPrefix(name, "x-envoy-") {
		return "", maybe
	}
	values := r.Header[textproto.CanonicalMIMEHeaderKey(name)]
	switch len(values) {
	case 0:
		return "", no
	case 1:
		return values[0], yes
	}
	return strings.Join(values, ","), yes
}
