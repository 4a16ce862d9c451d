package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A stream that is cut off goes on behind the last event; one that never began is an error.
func TestEvents_FollowGoesOn(t *testing.T) {
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		switch len(asked) {
		case 1:
			fmt.Fprintln(w, `{"service":"hello","type":"Scaled","message":"one","index":5}`)
		case 2:
			http.Error(w, `{"error":"no agent leads"}`, http.StatusServiceUnavailable)
		case 3:
			fmt.Fprintln(w, `{"service":"hello","type":"Scaled","message":"two","index":1006}`)
		default:
			http.Error(w, `{"error":"permission denied"}`, http.StatusForbidden)
		}
	}))
	t.Cleanup(s.Close)
	o := (&bench{Server: s}).wadi(t, "events", "-follow", "-json")
	if o.code != 1 || !strings.Contains(o.stdout, `"one"`) || !strings.Contains(o.stdout, `"two"`) || !strings.Contains(o.stdout, "permission denied") {
		t.Errorf("got %+v", o)
	}
	if got := strings.Join(asked, " "); got != " index=5 index=5 index=1006" {
		t.Errorf("asked %q", got)
	}
	if want := "The agent closed the stream, or does not answer; trying again.\nThe agent answers again.\nThe agent closed the stream, or does not answer; trying again.\n"; o.stderr != want {
		t.Errorf("got %q", o.stderr)
	}
	s.Close()
	if o := (&bench{Server: s}).wadi(t, "events", "-follow"); o.code != 1 || strings.Contains(o.stderr, "trying again") {
		t.Errorf("got %+v", o)
	}
}
