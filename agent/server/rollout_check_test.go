package server_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/api"
)

// checking is a bench whose leader knows outcomes by revision.
func checking(t *testing.T, known map[string]server.Outcomes, rollout string) bench {
	t.Helper()
	b := newBench(t, func(c *server.Config) {
		c.Outcomes = func(revision string, since time.Time) (server.Outcomes, bool) {
			if age := time.Since(since); age < 9*time.Minute || age > 11*time.Minute {
				t.Errorf("asked for the last %v", age)
			}
			return known[revision], true
		}
	})
	b.want(t, 200, "PUT", "/v1/services", submission(strings.Replace(hello, "instance {", rollout+"\n  instance {", 1)))
	b.store.SetStatus(wadi.Status{Service: "hello", Revisions: []wadi.RevisionStatus{
		{ID: "hello-00001", Percent: 90}, {ID: "hello-00002", Percent: 10}, {ID: "hello-00003"}, {ID: "hello-00000"},
	}})
	return b
}

func (b bench) check(t *testing.T) (got api.RolloutCheck) {
	t.Helper()
	a := b.want(t, 200, "GET", "/v1/service/hello/rollout/check", "")
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func answers(ok, failed uint64) server.Outcomes {
	l := make(wadi.Latencies, wadi.NumLatencyBuckets)
	l[wadi.LatencyBucket(20*time.Millisecond)] = ok + failed
	return server.Outcomes{Outcomes: wadi.Outcomes{Codes: map[string]uint64{"200": ok, "503": failed, "499": 3}, Latency: l, ColdStarts: 2}, InstanceSeconds: 60}
}

const gated = `rollout {
    duration          = "10m"
    max_error_percent = 1
  }`

func TestRolloutCheck(t *testing.T) {
	b := checking(t, map[string]server.Outcomes{"hello-00001": answers(9000, 10), "hello-00002": answers(900, 100)}, gated)
	got := b.check(t)
	if len(got.Revisions) != 2 {
		t.Fatalf("%+v", got)
	}
	want := api.RevisionOutcomes{
		Revision: "hello-00002", Percent: 10, Requests: 1000, Errors: 100, CallersGone: 3, Codes: map[string]uint64{"200": 900, "503": 100, "499": 3},
		P50: got.Revisions[0].P50, P99: got.Revisions[0].P99, ColdStarts: 2, InstanceSeconds: 60,
	}
	if d := cmp.Diff(want, got.Revisions[0]); d != "" {
		t.Errorf("the newest first (-want +got):\n%s", d)
	}
	if p := got.Revisions[0].P99.D(); p < 17*time.Millisecond || p > 20*time.Millisecond {
		t.Errorf("p99 is %v", p)
	}
	if got.After != "hello-00002" || got.Before != "hello-00001" || got.Decision != "back" || !strings.HasPrefix(got.Reason, "10 % of 1,000 requests failed, 0.11 % of 9,010 of the revision before") {
		t.Errorf("%+v", got)
	}
}

// Without a gate, with one revision, or where not all is known there are numbers and no verdict.
func TestRolloutCheck_NoVerdict(t *testing.T) {
	silent := answers(900, 0)
	silent.Unknown = "i1 does not answer"
	for name, tt := range map[string]struct {
		known   map[string]server.Outcomes
		rollout string
		reason  string
	}{
		"no gate":        {map[string]server.Outcomes{"hello-00002": answers(900, 0)}, "", "the service's rollout has no gate: max_error_percent and max_p99 make one"},
		"not all known":  {map[string]server.Outcomes{"hello-00001": silent, "hello-00002": answers(900, 0)}, gated, "not all is known of hello-00001: i1 does not answer"},
		"nothing so far": {nil, gated, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := checking(t, tt.known, tt.rollout).check(t)
			if tt.reason != "" && (got.Decision != "" || got.Reason != tt.reason) {
				t.Errorf("%+v", got)
			}
			if tt.known == nil && (got.Decision != "wait" || got.Reason != "it has had no requests yet") {
				t.Errorf("%+v", got)
			}
		})
	}
}

// During a rollout its own revisions are compared.
func TestRolloutCheck_OfTheRolloutUnderWay(t *testing.T) {
	b := checking(t, map[string]server.Outcomes{"hello-00003": answers(1, 0)}, gated)
	b.store.SetStatus(wadi.Status{
		Service: "hello", Revisions: []wadi.RevisionStatus{{ID: "hello-00001", Percent: 90}, {ID: "hello-00002", Percent: 10}, {ID: "hello-00003"}},
		Rollout: &wadi.RolloutStatus{Phase: wadi.RolloutJudging, Revision: "hello-00002", From: "hello-00001"},
	})
	if got := b.check(t); got.After != "hello-00002" || got.Before != "hello-00001" {
		t.Errorf("%+v", got)
	}
}

func TestRolloutCheck_Refused(t *testing.T) {
	b := newBench(t, func(c *server.Config) {
		c.Outcomes = func(string, time.Time) (server.Outcomes, bool) { return server.Outcomes{}, false }
	})
	b.want(t, 200, "PUT", "/v1/services", submission(hello))
	b.want(t, 404, "GET", "/v1/service/nobody/rollout/check", "")
	for _, since := range []string{"1s", "25h", "-10m", "soon", "10"} {
		b.want(t, 400, "GET", "/v1/service/hello/rollout/check?since="+since, "", "since must be a duration from 10s to 24h")
	}
	b.store.SetStatus(wadi.Status{Service: "hello", Revisions: []wadi.RevisionStatus{{ID: "hello-00001"}}})
	b.want(t, 503, "GET", "/v1/service/hello/rollout/check", "", "leads no more")
	lost := newBench(t, func(c *server.Config) { c.Leadership = &leadership{} })
	lost.want(t, 200, "PUT", "/v1/services", submission(hello))
	lost.want(t, 503, "GET", "/v1/service/hello/rollout/check", "", "no agent leads")

	leader := checking(t, map[string]server.Outcomes{"hello-00001": answers(1, 1)}, "")
	follower := newBench(t, func(c *server.Config) { c.Leadership = &leadership{"two", leader.URL} })
	follower.want(t, 200, "PUT", "/v1/services", submission(hello))
	follower.want(t, 200, "GET", "/v1/service/hello/rollout/check", "", `"errors":1`)
}
