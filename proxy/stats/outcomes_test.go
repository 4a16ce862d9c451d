package stats_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/stats"
)

func TestCode(t *testing.T) {
	for code, want := range map[stats.Code]string{
		stats.HTTP(200): "200", stats.HTTP(101): "101", stats.HTTP(599): "599", stats.HTTP(600): "5xx", stats.HTTP(999): "5xx", stats.HTTP(-1): "5xx",
		stats.CallerGone: wadi.CodeCallerGone, stats.GRPC("0"): "grpc:0", stats.GRPC("14"): "grpc:14",
		stats.GRPC("17"): "grpc:2", stats.GRPC("-1"): "grpc:2", stats.GRPC("x"): "grpc:2", stats.GRPC(""): "grpc:2",
	} {
		if got := code.String(); got != want || !wadi.IsOutcomeCode(got) {
			t.Errorf("%d is %q, want %q", code, got, want)
		}
	}
}

// An app that answers with every status there is takes no more memory than others.
func TestOutcomes_CodesAreBounded(t *testing.T) {
	r := stats.NewRecorder("", "", "", time.Hour)
	r.Enter(false)
	for status := 599; status >= 100; status-- {
		for range 3 {
			r.Refused(stats.HTTP(status))
		}
	}
	for n := range 20 {
		r.Refused(stats.GRPC(fmt.Sprint(n)))
	}
	o, _ := r.Outcomes()
	if len(o.Codes) > wadi.MaxOutcomeCodes+5+17 || o.Codes["599"] != 3 || o.Codes["2xx"] != 300 || o.Codes["grpc:16"] != 1 {
		t.Errorf("%d codes: %v", len(o.Codes), o.Codes)
	}
	if n := o.Requests(); n != 3*499+20 { // Without the callers that left.
		t.Errorf("%d requests", n)
	}
	if n := o.Errors([]string{"5xx"}); n != 300 {
		t.Errorf("%d errors, want 300", n)
	}
}

func TestOutcomes_CountsAndTimes(t *testing.T) {
	r := stats.NewRecorder("", "", "", time.Hour)
	if got, _ := r.Outcomes(); !got.IsZero() {
		t.Errorf("before the first: %+v", got)
	}
	for i := range 100 {
		r.Enter(true)
		r.LeaveAnswered(true, stats.HTTP(200), time.Duration(i+1)*time.Millisecond)
	}
	r.Enter(false)
	r.Leave(false) // Counts as no outcome.
	r.ColdStart()
	o, waited := r.Outcomes()
	if d := cmp.Diff(map[string]uint64{"200": 100}, o.Codes); d != "" || o.ColdStarts != 1 || o.Latency.Count() != 100 {
		t.Errorf("%+v", o)
	}
	if p := o.Quantile(0.99); p < 95*time.Millisecond || p > 100*time.Millisecond {
		t.Errorf("p99 is %v", p)
	}
	if waited != 5050*time.Millisecond {
		t.Errorf("they waited for %v together", waited)
	}
	if n := r.InFlight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

func BenchmarkRecorder(b *testing.B) {
	r := stats.NewRecorder("", "", "", time.Hour)
	b.Run("without outcome", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Enter(false)
			r.Leave(false)
		}
	})
	b.Run("with outcome", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Enter(false)
			r.LeaveAnswered(false, stats.HTTP(200), 20*time.Millisecond)
		}
	})
}
