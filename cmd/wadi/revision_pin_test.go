package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRevisionPinAndDelete(t *testing.T) {
	b := applied(t)
	b.wadi(t, "revision", "pin", "hello-00001").want(t, 0, "hello-00001: pinned\n", "")
	if o := b.wadi(t, "revision", "list", "hello"); !strings.Contains(o.stdout, "pinned") {
		t.Errorf("got %+v", o)
	}
	if o := b.wadi(t, "revision", "delete", "hello-00001"); o.code != 1 || !strings.Contains(o.stderr, "hello-00001 is pinned; unpin it first") {
		t.Errorf("got %+v", o)
	}
	b.wadi(t, "revision", "pin", "-clear", "hello-00001").want(t, 0, "hello-00001: not pinned\n", "")
	if o := b.wadi(t, "revision", "delete", "hello-00001"); o.code != 1 || !strings.Contains(o.stderr, "hello-00001 is the newest revision of hello") {
		t.Errorf("got %+v", o)
	}
	second := strings.Replace(hello, "instance {", "port = 9000\n  instance {", 1)
	if o := b.wadi(t, "apply", "-detach", file(t, second)); o.code != 0 || !strings.Contains(o.stdout, "hello-00002") {
		t.Fatalf("got %+v", o)
	}
	b.wadi(t, "revision", "delete", "-detach", "hello-00001").want(t, 0, "hello-00001: marked for deletion\n", "")
	if o := b.wadi(t, "revision", "list", "hello"); !strings.Contains(o.stdout, "being deleted") {
		t.Errorf("got %+v", o)
	}
	b.wadi(t, "revision", "pin", "hello-00009").want(t, 1, "", "Error: revision hello-00009: not found\n")
}

// The command waits until the revision is gone, through an outage of the agent.
func TestRevisionDelete_Waits(t *testing.T) {
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.RequestURI())
		switch len(asked) {
		case 1, 2:
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprint(w, `{"name":"hello-00001","deleting":true}`)
		case 3:
			http.Error(w, `{"error":"no agent leads"}`, http.StatusServiceUnavailable)
		default:
			fmt.Fprint(w, `{"name":"hello-00001","gone":true}`)
		}
	}))
	t.Cleanup(s.Close)
	(&bench{Server: s}).wadi(t, "revision", "delete", "hello-00001").want(t, 0, "hello-00001: gone\n", "")
	const path = "DELETE /v1/revision/hello-00001"
	if got, want := strings.Join(asked, ", "), path+", "+strings.Repeat(path+"?wait=1s, ", 2)+path+"?wait=1s"; got != want {
		t.Errorf("asked %s", got)
	}
}
