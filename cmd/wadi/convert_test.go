package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const jobToConvert = `job "shop" {
  region = "global"
  group "g" {
    task "t" {
      driver = "docker"
    }
  }
}
`

func TestConvert(t *testing.T) {
	b := newBench(t)
	path := file(t, jobToConvert)
	o := b.wadi(t, "convert", path)
	if o.code != 0 || !strings.Contains(o.stdout, "service \"shop\" {") || !strings.Contains(o.stdout, ":2: job.region: not carried over") || o.stderr != "What differs is in the comments: 2 in all.\n" {
		t.Errorf("got %+v", o)
	}
	var out converted
	if o := b.wadi(t, "convert", "-json", path); o.code != 0 || json.Unmarshal([]byte(o.stdout), &out) != nil || len(out.Notes) != 2 || !strings.Contains(out.Source, "service \"shop\"") {
		t.Errorf("got %+v", o)
	}
	b.wadi(t, "validate", file(t, out.Source)).want(t, 0, "shop: good, would make revision shop-00001\n", "")
	if o := b.wadiIn(t.Context(), "job \"a\" { type = \"batch\" }", nil, "convert", "-"); o.code != 1 || o.stdout != "" || !strings.Contains(o.stderr, "<stdin>:1,11: job.type: only jobs") {
		t.Errorf("got %+v", o)
	}
	for _, args := range [][]string{{"convert"}, {"convert", "-job", "a", path}, {"convert", path, path}} {
		if o := b.wadi(t, args...); o.code != 2 {
			t.Errorf("%v: got %+v", args, o)
		}
	}
}

// The job is read from Nomad with the caller's token, in the namespace asked for.
func TestConvert_JobOfNomad(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Nomad-Token") != "secret" || r.URL.Query().Get("namespace") != "prod" {
			http.Error(w, "Permission denied", http.StatusForbidden)
			return
		}
		if r.URL.EscapedPath() != "/v1/job/a%2Fb" {
			http.Error(w, "job not found", http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(`{"ID": "a/b", "Type": "service", "Namespace": "prod", "TaskGroups": [{"Name": "g", "Count": 2, "Tasks": [{"Name": "t", "Driver": "docker"}]}]}`))
	}))
	defer srv.Close()
	b := newBench(t)
	o := b.wadi(t, "convert", "-nomad-address", srv.URL, "-namespace", "prod", "-token", "secret", "-job", "a/b")
	if o.code != 0 || !strings.Contains(o.stdout, "service \"a-b\" {") || !strings.Contains(o.stdout, "min = 2") {
		t.Errorf("got %+v", o)
	}
	if o := b.wadi(t, "convert", "-nomad-address", srv.URL, "-token", "other", "-job", "a/b"); o.code != 1 || !strings.Contains(o.stderr, "read job a/b: Nomad answered 403: Permission denied") {
		t.Errorf("got %+v", o)
	}
}
