package upstream

import (
	"net/http"
	"net/url"
	"strings"
)

// keepPath makes u give the very bytes of the request target that in came with,
// where parsing and escaping it again would change them.
func keepPath(u *url.URL, in *http.Request) {
	target := in.RequestURI
	if target == "" || target == u.RequestURI() {
		return
	}
	// Only a plain path has nothing but bytes to keep: not "*", not an absolute
	// form, and an opaque value must not begin with two slashes.
	if !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") {
		return
	}
	u.Opaque, u.RawQuery, _ = strings.Cut(target, "?")
	u.ForceQuery = strings.HasSuffix(target, "?") && u.RawQuery == ""
}
