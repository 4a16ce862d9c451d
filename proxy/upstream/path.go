package upstream

import (
	"net/http"
	"net/url"
	"strings"
)

// keepPath makes u write the request target byte for byte as in has it, where parsing and
// escaping it again would change it.
func keepPath(u *url.URL, in *http.Request) {
	target := in.RequestURI
	if target == "" || target == u.RequestURI() {
		return
	}
	// Only a plain path: not "*", not an absolute form, and an opaque value must not begin
	// with two slashes.
	if !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") {
		return
	}
	u.Opaque, u.RawQuery, _ = strings.Cut(target, "?")
	u.ForceQuery = strings.HasSuffix(target, "?") && u.RawQuery == ""
}
