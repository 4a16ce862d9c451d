package queue_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestAdmin_Dump(t *testing.T) {
	g := newGate()
	s := start(t, g.ServeHTTP, "WADI_CONCURRENCY_LIMIT=1")
	go s.get(s.Addr(), "/a")
	g.next(t)
	go s.do(t.Context(), http.MethodPost, s.Addr(), "/b", "")
	eventually(t, "waiting", func() bool { return s.metric("wadi_queue_waiting_requests") == "1" })
	var got struct {
		Ready    bool
		InFlight int `json:"in_flight"`
		Waiting  int
		Requests []struct{ Method, State string }
	}
	if err := json.Unmarshal([]byte(s.get(s.AdminAddr(), "/v1/admin/dump").text), &got); err != nil {
		t.Fatal(err)
	}
	if !got.Ready || got.InFlight != 1 || got.Waiting != 1 || len(got.Requests) != 2 ||
		got.Requests[0].State != "forwarded" || got.Requests[1].State != "queued" || got.Requests[1].Method != "POST" {
		t.Errorf("dump %+v", got)
	}
	close(g.leave)
}

func TestAdmin_DrainAnswersWhenDrained(t *testing.T) {
	g := newGate()
	s := start(t, g.ServeHTTP)
	first := make(chan answer, 1)
	go func() { first <- s.get(s.Addr(), "/") }()
	g.next(t)
	drained := make(chan answer, 1)
	go func() { drained <- s.do(t.Context(), http.MethodPut, s.AdminAddr(), "/v1/admin/drain", "") }()
	eventually(t, "draining", func() bool { return strings.Contains(s.get(s.AdminAddr(), "/v1/admin/dump").text, `"draining": true`) })
	select {
	case a := <-drained:
		t.Errorf("answered %q while a request is in flight", a.text)
	default:
	}
	close(g.leave)
	if a := <-drained; !strings.Contains(a.text, `"drained": true`) || (<-first).text != "done" {
		t.Errorf("drain answered %d %q", a.StatusCode, a.text)
	}
	if a := s.get(s.AdminAddr(), "/v1/admin/live"); a.StatusCode != 200 {
		t.Errorf("live: %d: the process is to stay", a.StatusCode)
	}
}

func TestPlanes_KeepToThemselves(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, tt := range []struct {
		plane, path string
		want        int
	}{
		{s.Addr(), "/ready", http.StatusTeapot},
		{s.Addr(), "/v1/admin/drain", http.StatusTeapot},
		{s.MetricsAddr(), "/v1/admin/dump", http.StatusNotFound},
		{s.MetricsAddr(), "/debug/pprof/", http.StatusNotFound},
		{s.AdminAddr(), "/metrics", http.StatusNotFound},
		{s.AdminAddr(), "/debug/pprof/", http.StatusOK},
		{s.AdminAddr(), "/v1/admin/log-level", http.StatusOK},
		{s.AdminAddr(), "/v1/admin/drain", http.StatusOK}, // A GET begins no drain.
		{s.MetricsAddr(), "/ready", http.StatusOK},
	} {
		if a := s.get(tt.plane, tt.path); a.StatusCode != tt.want {
			t.Errorf("%s%s: %d, want %d", tt.plane, tt.path, a.StatusCode, tt.want)
		}
	}
}
