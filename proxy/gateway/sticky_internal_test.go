package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
)

// Whatever cookies come, what is taken for a bucket is one, and stands there as the
// gateway writes it.
func FuzzKeptBucket(f *testing.F) {
	for _, line := range []string{"", "b=1", "a=b; b=9999;c", "b=1; b=2", "b=01", " b = 1", "b=\x00", ";;b=1;=", "b=10000", "b"} {
		f.Add(line, "b=2")
		f.Add(line, "")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		bucket, ok := keptBucket([]string{one, two}, "b")
		if !ok {
			return
		}
		if bucket < 0 || bucket >= wadi.WeightAll {
			t.Fatalf("bucket %d of %q %q", bucket, one, two)
		}
		h := http.Header{}
		(&sticky{Sticky: wadi.Sticky{Cookie: "b"}}).give(h, newBucket(bucket), false)
		written, _, _ := strings.Cut(h.Get("Set-Cookie"), ";")
		if n := strings.Count(one, written) + strings.Count(two, written); n == 0 {
			t.Errorf("%d is taken for the bucket of %q %q", bucket, one, two)
		}
	})
}
