package gateway

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"github.com/wadi-run/wadi"
)

// sticky keeps users on one revision: each has a bucket, by a header or in a cookie.
type sticky struct {
	wadi.Sticky
	service string
	header  string // Sticky.Header in canonical form; empty: none.
	split   wadi.Split
}

// newSticky returns nil where requests need no bucket: without the setting, and where one
// revision has all the traffic.
func newSticky(route wadi.Route) *sticky {
	if route.Sticky == nil {
		return nil
	}
	split := wadi.SplitOf(route.Targets)
	if len(split) < 2 {
		return nil
	}
	return &sticky{*route.Sticky, route.Service, http.CanonicalHeaderKey(route.Sticky.Header), split}
}

// equal reports whether two rows keep users in the same way; either may be nil.
func (s *sticky) equal(other *sticky) bool {
	if s == nil || other == nil {
		return s == other
	}
	return s.Sticky == other.Sticky // The split follows from the targets.
}

// newBucket says that a bucket was drawn that the caller is to keep.
type newBucket int

// noBucket is that of a request whose caller has one, or is to have none.
const noBucket newBucket = -1

// pick chooses a request's revision: by its header, else by its cookie, else by a bucket that
// it draws.
func (s *sticky) pick(h http.Header) (revision string, drawn newBucket) {
	if s.header != "" {
		if bucket, ok := wadi.BucketOf(s.service, h[s.header]); ok {
			return s.split.Revision(bucket), noBucket
		}
	}
	if s.Cookie == "" {
		return s.split.Revision(rand.IntN(wadi.WeightAll)), noBucket
	}
	if bucket, ok := keptBucket(h["Cookie"], s.Cookie); ok {
		return s.split.Revision(bucket), noBucket
	}
	bucket := rand.IntN(wadi.WeightAll)
	return s.split.Revision(bucket), newBucket(bucket)
}

// keptBucket is the bucket in the cookie of that name. A cookie that is there twice, or that
// holds anything but a bucket as give writes it, counts as none.
func keptBucket(lines []string, name string) (bucket int, ok bool) {
	for _, line := range lines {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			key, value, isPair := strings.Cut(strings.TrimSpace(pair), "=")
			if !isPair || key != name {
				continue
			}
			if ok {
				return 0, false
			}
			if bucket, ok = parseBucket(value); !ok {
				return 0, false
			}
		}
	}
	return bucket, ok
}

// parseBucket reads a decimal number without sign and leading zeros.
func parseBucket(s string) (bucket int, ok bool) {
	const digits = 4
	if s == "" || len(s) > digits || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		bucket = bucket*10 + int(s[i]-'0')
	}
	return bucket, bucket < wadi.WeightAll
}

// give has the answer ask the caller to keep its bucket. A cache that several users share may
// keep the answer, but not this cookie (RFC 9111, section 5.2.2.7): else all of them would be
// one user.
func (s *sticky) give(h http.Header, bucket newBucket, secure bool) {
	h.Add("Cache-Control", `private="Set-Cookie"`)
	h.Add("Set-Cookie", (&http.Cookie{
		Name: s.Cookie, Value: strconv.Itoa(int(bucket)), Path: "/", MaxAge: int(s.TTL.D().Seconds()),
		Secure: secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}).String())
}
