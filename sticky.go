package wadi

import (
	"cmp"
	"slices"
)

// Sticky keeps a user of a service on one revision while the shares of newer revisions only
// grow. Each user has a bucket, one of [WeightAll], and each revision a range of buckets that
// is as large as its share; see [SplitOf].
type Sticky struct {
	Cookie string   `json:"cookie,omitempty"` // Name of the cookie in which the gateway keeps a bucket that it draws; empty: no cookie.
	TTL    Duration `json:"ttl,omitempty"`    // Of the cookie, from the first request on.
	Header string   `json:"header,omitempty"` // Whose value decides the bucket; see [BucketOf]. It comes before the cookie. Empty: no header.
}

// maxStickyValue bounds the value of a sticky header, in bytes.
const maxStickyValue = 256

// BucketOf is the bucket of a user who is known by values, those of a sticky header. Without
// exactly one value of 1 to 256 bytes there is none.
//
// It is a fixed function of service and value, so that all agents of all versions agree:
// FNV-1a (64 bits) of both with a zero byte between them, then the finalizer of MurmurHash3,
// as a low bit of FNV depends on the low bits of the input only, modulo WeightAll.
func BucketOf(service string, values []string) (bucket int, ok bool) {
	if len(values) != 1 || values[0] == "" || len(values[0]) > maxStickyValue {
		return 0, false
	}
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(service) {
		h = (h ^ uint64(service[i])) * prime
	}
	h *= prime // The zero byte.
	for value, i := values[0], 0; i < len(value); i++ {
		h = (h ^ uint64(value[i])) * prime
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return int(h % WeightAll), true
}

// Split gives each revision with a share of the traffic a range of the buckets, one after
// the other, the newest first.
type Split []Share

// Share is a revision's range of buckets: from where the range before it ends.
type Share struct {
	Revision string
	End      int // The first bucket after its own.
}

// SplitOf is the split of a route's targets. As the newest has the lowest buckets, a share that
// grows moves users from older revisions to newer ones only, as long as no revision together
// with all newer ones loses any.
func SplitOf(targets []RouteTarget) Split {
	var s Split
	for _, t := range targets {
		i := slices.IndexFunc(s, func(have Share) bool { return have.Revision == t.Revision })
		switch {
		case t.Weight <= 0:
		case i < 0:
			s = append(s, Share{t.Revision, t.Weight})
		default:
			s[i].End += t.Weight
		}
	}
	slices.SortFunc(s, func(a, b Share) int {
		return cmp.Or(newest(a.Revision, b.Revision), cmp.Compare(b.Revision, a.Revision))
	})
	end := 0
	for i := range s {
		end += s[i].End
		s[i].End = end
	}
	return s
}

// newest compares revisions of a service so that the newest sorts first.
func newest(a, b string) int {
	_, m, _ := SplitRevisionID(a)
	_, n, _ := SplitRevisionID(b)
	return cmp.Compare(n, m)
}

// Revision is the revision of a bucket; empty where no revision has a share.
func (s Split) Revision(bucket int) string {
	for _, share := range s {
		if bucket < share.End {
			return share.Revision
		}
	}
	if len(s) > 0 {
		return s[len(s)-1].Revision // The shares sum to less than WeightAll.
	}
	return ""
}
