package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRolloutCheck(t *testing.T) {
	asked := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RequestURI()
		if strings.Contains(asked, "empty") {
			fmt.Fprint(w, `{"service":"empty","since":"2026-01-02T03:04:05Z","revisions":[],"reason":"no revision has had requests or instances"}`)
			return
		}
		fmt.Fprint(w, `{"service":"hello","since":"2026-01-02T03:04:05Z","after":"hello-00002","before":"hello-00001","decision":"back","reason":"it is \u001b[2Jbad","revisions":[
{"revision":"hello-00002","percent":10,"requests":812,"errors":33,"codes":{"200":779,"503":33,"499":1,"a":1,"b":1,"c":1},"p50":"4.2ms","p99":"15s","cold_starts":1,"instance_seconds":600.4,"from":"2026-01-02T03:04:05Z"},
{"revision":"hello-00001","percent":90,"requests":0,"errors":0,"codes":{},"p50":"0s","p99":"0s","cold_starts":0,"instance_seconds":0,"from":"2026-01-02T03:04:05Z","unknown":"i1 does not answer"}]}`)
	}))
	t.Cleanup(s.Close)
	b := &bench{Server: s}
	o := b.wadi(t, "rollout", "check", "-since", "30m", "hello")
	want := `REVISION      TRAFFIC   REQUESTS   ERRORS        P50      P99    COLD STARTS   INSTANCE-SECONDS   ANSWERS
hello-00002   10 %      812        33 (4.06 %)   4.2 ms   15 s   1             600                200: 779, 503: 33, 499: 1, a: 1, b: 1, …
hello-00001   90 %      0          0             -        -      0             0                  -
`
	if o.code != 0 || !strings.HasPrefix(o.stdout, want) || !strings.HasSuffix(o.stdout, "From hello-00001 to hello-00002, a gate goes back: it is [2Jbad.\n") || !strings.Contains(o.stdout, "Of hello-00001 this is known only since") {
		t.Errorf("got %+v", o)
	}
	if asked != "/v1/service/hello/rollout/check?since=30m0s" {
		t.Errorf("asked %s", asked)
	}
	if o = b.wadi(t, "rollout", "check", "empty"); o.code != 0 || !strings.HasPrefix(o.stdout, "No revision of empty has had requests or instances since") {
		t.Errorf("got %+v", o)
	}
	if o = b.wadi(t, "rollout", "check", "-json", "hello"); o.code != 0 || !strings.Contains(o.stdout, `"decision": "back"`) {
		t.Errorf("got %+v", o)
	}
	if o = b.wadi(t, "rollout", "check"); o.code != 2 {
		t.Errorf("got %+v", o)
	}
}
