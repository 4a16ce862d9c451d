package wadi_test

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
)

func latencies(of ...time.Duration) wadi.Latencies {
	l := make(wadi.Latencies, wadi.NumLatencyBuckets)
	for _, d := range of {
		l[wadi.LatencyBucket(d)]++
	}
	return l
}

// The buckets cover 1 ms to 300 s in steps of a quarter at most, and contain the limits that
// people choose.
func TestLatencyBounds(t *testing.T) {
	bounds := wadi.LatencyBounds()
	if len(bounds)+1 != wadi.NumLatencyBuckets {
		t.Errorf("%d bounds, want %d", len(bounds), wadi.NumLatencyBuckets-1)
	}
	for i, b := range bounds {
		if i > 0 && bounds[i-1] >= time.Millisecond && float64(b) > 1.2501*float64(bounds[i-1]) {
			t.Errorf("%v follows %v", b, bounds[i-1])
		}
		if got := wadi.LatencyBucket(b); got != i {
			t.Errorf("%v is in bucket %d, want %d", b, got, i)
		}
		if got := wadi.LatencyBucket(b + 1); got != i+1 {
			t.Errorf("just above %v is in bucket %d, want %d", b, got, i+1)
		}
	}
	for _, ms := range []int{1, 2, 5, 10, 20, 25, 50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 800, 1000, 1500, 2000, 3000, 5000, 10000, 30000, 60000, 120000, 300000} {
		if d := time.Duration(ms) * time.Millisecond; !slices.Contains(bounds, d) {
			t.Errorf("%v is no bound", d)
		}
	}
	if wadi.LatencyBucket(-1) != 0 || wadi.LatencyBucket(time.Hour) != len(bounds) {
		t.Error("the ends are wrong")
	}
}

// A quantile is within 15 % of that of the durations themselves.
func TestLatencies_QuantileIsNear(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, median := range []time.Duration{2 * time.Millisecond, 90 * time.Millisecond, 1700 * time.Millisecond, 20 * time.Second} {
		all := make([]time.Duration, 20000)
		for i := range all {
			all[i] = time.Duration(float64(median) * (0.5 + rng.ExpFloat64()/2))
		}
		slices.Sort(all)
		l := latencies(all...)
		for _, q := range []float64{0.5, 0.9, 0.99} {
			exact := all[int(q*float64(len(all)))]
			if got := l.Quantile(q); float64(got) < 0.85*float64(exact) || float64(got) > 1.15*float64(exact) {
				t.Errorf("quantile %v around %v is %v, want %v", q, median, got, exact)
			}
		}
	}
	if got := latencies(time.Hour).Quantile(0.99); got != 300*time.Second {
		t.Errorf("above all bounds: %v", got)
	}
	if got := (wadi.Outcomes{}).Quantile(0.99); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

// The format says the buckets, so that another Wadi may have others.
func TestLatencies_JSON(t *testing.T) {
	l := latencies(50*time.Microsecond, time.Millisecond, time.Millisecond, 300*time.Second, time.Hour)
	b, err := json.Marshal(l)
	if want := "[100,1,1000,2,300000000,1,0,1]"; string(b) != want || err != nil {
		t.Fatalf("%s (%v), want %s", b, err, want)
	}
	var got wadi.Latencies
	if err := json.Unmarshal(b, &got); err != nil || !cmp.Equal(l, got) {
		t.Errorf("read back as %v: %v", got, err)
	}
	if err := json.Unmarshal([]byte("[1100,7,999999999999,3]"), &got); err != nil || !cmp.Equal(got.Count(), uint64(10)) || got[wadi.LatencyBucket(1100*time.Microsecond)] != 7 {
		t.Errorf("of other buckets: %v, %v", got, err)
	}
	for _, bad := range []string{"[1]", "[-1,2]", "[1,-2]", "[1.5,2]", `["1",2]`, "{}", "[" + strings.Repeat("1,", 4001) + "1]"} {
		if json.Unmarshal([]byte(bad), &got) == nil {
			t.Errorf("%.20s is taken", bad)
		}
	}
	if err := json.Unmarshal([]byte("[]"), &got); err != nil || got != nil {
		t.Errorf("nothing is %v, %v", got, err)
	}
}

func TestLatencies_Above(t *testing.T) {
	l := latencies(90*time.Millisecond, 300*time.Millisecond, 310*time.Millisecond, 320*time.Millisecond, time.Second, time.Hour)
	for _, tt := range []struct {
		limit       time.Duration
		least, most uint64
	}{
		{300 * time.Millisecond, 4, 4}, // A bound: exact.
		{315 * time.Millisecond, 2, 4}, // Within the bucket of two.
		{time.Minute, 1, 1},
		{2 * time.Hour, 0, 1},
	} {
		if least, most := l.Above(tt.limit); least != tt.least || most != tt.most {
			t.Errorf("above %v: %d to %d, want %d to %d", tt.limit, least, most, tt.least, tt.most)
		}
	}
	if least, most := wadi.Latencies(nil).Above(time.Second); least+most != 0 {
		t.Error("of nothing there is something")
	}
}

func TestOutcomes_SumAndRest(t *testing.T) {
	a := wadi.Outcomes{Codes: map[string]uint64{"200": 7, "503": 1}, Latency: latencies(time.Millisecond, time.Second), ColdStarts: 1}
	b := wadi.Outcomes{Codes: map[string]uint64{"200": 2, "grpc:14": 3, "499": 4}, Latency: latencies(time.Second)}
	sum := a.Add(b)
	want := wadi.Outcomes{Codes: map[string]uint64{"200": 9, "503": 1, "grpc:14": 3, "499": 4}, Latency: latencies(time.Millisecond, time.Second, time.Second), ColdStarts: 1}
	if d := cmp.Diff(want, sum); d != "" {
		t.Errorf("sum (-want +got):\n%s", d)
	}
	if d := cmp.Diff(b, sum.Sub(a)); d != "" {
		t.Errorf("rest (-want +got):\n%s", d)
	}
	if rest := sum.Sub(sum); !rest.IsZero() {
		t.Errorf("nothing is left: %+v", rest)
	}
	if d := cmp.Diff(a, (wadi.Outcomes{}).Add(a).Sub(wadi.Outcomes{})); d != "" {
		t.Errorf("with nothing (-want +got):\n%s", d)
	}
	if n := sum.Requests(); n != 13 {
		t.Errorf("%d requests were answered, want 13", n)
	}
}

func TestOutcomes_Errors(t *testing.T) {
	o := wadi.Outcomes{Codes: map[string]uint64{
		"200": 1, "404": 2, "429": 4, "499": 8, "500": 16, "5xx": 32, "grpc:0": 64, "grpc:5": 128, "grpc:14": 256, "4xx": 512,
	}}
	for _, tt := range []struct {
		patterns []string
		want     uint64
	}{
		{nil, 16 + 32 + 256},
		{[]string{"5xx"}, 16 + 32},
		{[]string{"4xx"}, 2 + 4 + 512},
		{[]string{"429", "grpc:5"}, 4 + 128},
		{[]string{"499"}, 8},
		{[]string{"4xx", "429", "404"}, 2 + 4 + 512}, // Each counts once.
	} {
		if got := o.Errors(tt.patterns); got != tt.want {
			t.Errorf("%q: %d errors, want %d", tt.patterns, got, tt.want)
		}
	}
}

func TestCheckErrorCode(t *testing.T) {
	for _, good := range append(wadi.DefaultErrorCodes(), "4xx", "429", "499", "200", "grpc:1", "grpc:16") {
		if err := wadi.CheckErrorCode(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "5", "5XX", "1xx", "6xx", "xxx", "099", "600", "+50", "grpc:", "grpc:0", "grpc:17", "grpc:014", "grpc:-1", "grpc:x", "grpc:UNAVAILABLE", "50x", " 500", "５００"} {
		if wadi.CheckErrorCode(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
