package gate_test

import (
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler/gate"
)

// answered is so many requests, of which some failed and some were slow.
func answered(requests, failed, slow uint64) wadi.Outcomes {
	o := wadi.Outcomes{Codes: map[string]uint64{"200": requests - failed}, Latency: make(wadi.Latencies, wadi.NumLatencyBuckets)}
	if failed > 0 {
		o.Codes["503"] = failed
	}
	o.Latency[wadi.LatencyBucket(20*time.Millisecond)] = requests - slow
	o.Latency[wadi.LatencyBucket(2*time.Second)] = slow
	return o
}

func TestJudge(t *testing.T) {
	errors := wadi.Rollout{MaxErrorPercent: 1}
	latency := wadi.Rollout{MaxP99: wadi.Duration(300 * time.Millisecond)}
	both := wadi.Rollout{MaxErrorPercent: 1, MaxP99: latency.MaxP99}
	nothing := wadi.Outcomes{}
	for _, tt := range []struct {
		name          string
		rule          wadi.Rollout
		before, after wadi.Outcomes
		want          gate.Decision
		reason        string
	}{
		{"no gate", wadi.Rollout{}, nothing, nothing, gate.GoOn, "the rollout has no gate"},
		{"no requests", errors, answered(9000, 0, 0), nothing, gate.Wait, "it has had no requests yet"},
		{"only callers that left", errors, nothing, wadi.Outcomes{Codes: map[string]uint64{"499": 800}}, gate.Wait, "it has had no requests yet"},
		{"few", errors, answered(9000, 0, 0), answered(12, 12, 0), gate.Wait, "100 % of 12 requests failed, 0 % of 9,000 of the revision before: that does not tell yet whether it is more than 1 % worse"},
		{"worse", errors, answered(7308, 22, 0), answered(812, 33, 0), gate.Back, "4.1 % of 812 requests failed, 0.3 % of 7,308 of the revision before: more than 1 % worse (99 % sure)"},
		{"all fail", errors, answered(2000, 0, 0), answered(20, 20, 0), gate.Back, "100 % of 20 requests failed, 0 % of 2,000 of the revision before: more than 1 % worse (99 % sure)"},
		{"as good", errors, answered(2700, 0, 0), answered(300, 0, 0), gate.GoOn, "0 % of 300 requests failed, 0 % of 2,700 of the revision before: at most 0.99 % worse (95 % sure), 1 % is allowed"},
		{"one short", errors, answered(2700, 0, 0), answered(298, 0, 0), gate.Wait, "0 % of 298 requests failed, 0 % of 2,700 of the revision before: that does not tell yet whether it is more than 1 % worse; about 299 requests would be enough"},
		{"both bad", errors, answered(9000, 900, 0), answered(9000, 910, 0), gate.GoOn, "10.1 % of 9,000 requests failed, 10 % of 9,000 of the revision before: at most 0.86 % worse (95 % sure), 1 % is allowed"},
		{"better", errors, answered(900, 90, 0), answered(900, 0, 0), gate.GoOn, "0 % of 900 requests failed, 10 % of 900 of the revision before: at most 0 % worse (95 % sure), 1 % is allowed"},
		{"at the limit", errors, answered(9000, 0, 0), answered(1000, 10, 0), gate.Wait, "1 % of 1,000 requests failed, 0 % of 9,000 of the revision before: that does not tell yet whether it is more than 1 % worse"},
		{"at the limit, for long", errors, answered(900000, 0, 0), answered(10000, 99, 0), gate.GoOn, "0.99 % of 10,000 requests failed, 0 % of 900,000 of the revision before: about 0.99 % worse, known to a quarter of the 1 % that is allowed"},
		{"nothing to compare with, good", errors, nothing, answered(299, 0, 0), gate.GoOn, "0 % of 299 requests failed, the revision before had none to compare with: at most 1 % (95 % sure), 1 % is allowed"},
		{"nothing to compare with, bad", errors, nothing, answered(200, 20, 0), gate.Back, "10 % of 200 requests failed, the revision before had none to compare with: more than 1 % (99 % sure)"},
		{"little to compare with, bad", errors, answered(5, 0, 0), answered(200, 20, 0), gate.Back, "10 % of 200 requests failed, the revision before had only 5 to compare with, of which 0 failed: more than 1 % (99 % sure)"},
		{"little to compare with, both bad", errors, answered(5, 2, 0), answered(200, 20, 0), gate.Wait, "10 % of 200 requests failed, the revision before had only 5 to compare with, of which 2 failed: that does not tell yet whether it is more than 1 %"},
		{"other codes", wadi.Rollout{MaxErrorPercent: 1, ErrorCodes: []string{"429"}}, answered(900, 0, 0), answered(900, 900, 0), gate.GoOn, "0 % of 900 requests failed, 0 % of 900 of the revision before: at most 0.33 % worse (95 % sure), 1 % is allowed"},

		{"fast", latency, nothing, answered(299, 0, 0), gate.GoOn, "p99 is 20ms; 0 % of 299 requests took longer than 300ms to answer: at most 1 % do (95 % sure), so p99 is below 300ms"},
		{"fast, few", latency, nothing, answered(50, 0, 0), gate.Wait, "p99 is 20ms; 0 % of 50 requests took longer than 300ms to answer: that does not tell yet whether p99 is above 300ms; about 299 requests would be enough"},
		{"slow, few", latency, nothing, answered(99, 0, 99), gate.Wait, "p99 is 2s; 100 % of 99 requests took longer than 300ms to answer: that does not tell yet whether p99 is above 300ms"},
		{"slow", latency, nothing, answered(400, 0, 20), gate.Back, "p99 is 1.95s; 5 % of 400 requests took longer than 300ms to answer: more than 1 % do, so p99 is above 300ms (99 % sure)"},
		{"p99 at the limit", latency, nothing, answered(1000, 0, 10), gate.Wait, ""},
		{"p99 at the limit, for long", latency, nothing, answered(10000, 0, 99), gate.GoOn, ""},

		{"slow and good", both, answered(400, 0, 0), answered(400, 0, 20), gate.Back, "p99 is 1.95s; 5 % of 400 requests took longer than 300ms to answer: more than 1 % do, so p99 is above 300ms (99 % sure)"},
		{"fast and too few to tell", both, answered(400, 4, 0), answered(400, 4, 0), gate.Wait, ""},
		{"both good", both, answered(900, 0, 0), answered(900, 0, 0), gate.GoOn, "0 % of 900 requests failed, 0 % of 900 of the revision before: at most 0.33 % worse (95 % sure), 1 % is allowed; p99 is 20ms; 0 % of 900 requests took longer than 300ms to answer: at most 0.33 % do (95 % sure), so p99 is below 300ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := gate.Judge(tt.rule, tt.before, tt.after)
			if got.Decision != tt.want || tt.reason != "" && got.Reason != tt.reason {
				t.Errorf("got  %s: %s\nwant %s: %s", got.Decision, got.Reason, tt.want, tt.reason)
			}
		})
	}
}

// A limit between two bounds of the histogram: what may be slower or not is no proof.
func TestJudge_LimitWithinABucket(t *testing.T) {
	o := wadi.Outcomes{Codes: map[string]uint64{"200": 1000}, Latency: make(wadi.Latencies, wadi.NumLatencyBuckets)}
	o.Latency[wadi.LatencyBucket(20*time.Millisecond)] = 900
	o.Latency[wadi.LatencyBucket(320*time.Millisecond)] = 100
	for limit, want := range map[time.Duration]gate.Decision{
		300 * time.Millisecond: gate.Back, 320 * time.Millisecond: gate.Wait, 350 * time.Millisecond: gate.GoOn,
	} {
		if got := gate.Judge(wadi.Rollout{MaxP99: wadi.Duration(limit)}, wadi.Outcomes{}, o); got.Decision != want {
			t.Errorf("%v: %+v, want %s", limit, got, want)
		}
	}
}

// Numbers that no honest source reports are judged without a panic, and in time.
func TestJudge_AbsurdNumbers(t *testing.T) {
	huge := uint64(1) << 62
	for _, rule := range []wadi.Rollout{{MaxErrorPercent: 1e-9, MaxP99: 1}, {MaxErrorPercent: 100, MaxP99: wadi.Duration(time.Hour)}, {MaxErrorPercent: 1e9}} {
		for _, after := range []wadi.Outcomes{answered(huge, huge/2, huge/3), answered(1, 1, 1), answered(huge, 0, huge), {Latency: wadi.Latencies{5}}} {
			for _, before := range []wadi.Outcomes{{}, answered(huge, huge, 0), answered(25, 25, 0)} {
				if got := gate.Judge(rule, before, after); got.Reason == "" {
					t.Errorf("%+v: no reason", got)
				}
			}
		}
	}
}
