package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
)

func TestRevisionJob(t *testing.T) {
	b := newBench(t)
	if o := b.wadi(t, "apply", "-detach", file(t, hello)); o.code != 0 {
		t.Fatalf("got %+v", o)
	}
	o := b.wadi(t, "revision", "job", "-hcl", "hello-00001")
	o.golden(t, "revision_job.hcl")
	if o.code != 0 || o.stderr != "" {
		t.Errorf("got %+v", o)
	}

	o = b.wadi(t, "revision", "job", "-count", "3", "hello-00001")
	var out struct {
		Job struct {
			ID         string
			TaskGroups []struct{ Count int }
		}
	}
	if err := json.Unmarshal([]byte(o.stdout), &out); err != nil || o.code != 0 {
		t.Fatalf("%v: %+v", err, o)
	}
	if out.Job.ID != "hello" || out.Job.TaskGroups[0].Count != 3 {
		t.Errorf("got %+v", out)
	}
	if !strings.HasPrefix(o.stderr, `Note: The job is "hello"`) || !strings.Contains(o.stderr, "no queue-proxy") {
		t.Errorf("what has changed is not said: %s", o.stderr)
	}
}

func TestRevisionJob_Refuses(t *testing.T) {
	b := newBench(t)
	if o := b.wadi(t, "apply", "-detach", file(t, hello)); o.code != 0 {
		t.Fatalf("got %+v", o)
	}
	for _, tt := range []struct {
		args, stderr string
		code         int
	}{
		{"revision job hello-00002", "Error: revision hello-00002: not found\n", 1},
		{"revision job hello", "Error: revision \"hello\": not found\n", 1},
		{"revision inspect other-00001", "Error: service other: not found\n", 1},
		{"revision job -hcl -json hello-00001", "Error: -hcl and -json exclude each other\n", 2},
		{"revision job -count -1 hello-00001", "Error: -count -1 is less than zero\n", 2},
	} {
		if o := b.wadi(t, strings.Fields(tt.args)...); o.code != tt.code || !strings.HasPrefix(o.stderr, tt.stderr) || o.stdout != "" {
			t.Errorf("%s: got %+v", tt.args, o)
		}
	}
}

// A revision is shown to readers of its service's namespace only, and without its proof.
func TestRevisionInspect(t *testing.T) {
	b := newBench(t)
	b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}, Read: []string{"default"}})
	b.nomad.Allow("bob", admissiontest.Grant{Read: []string{"other"}})
	if o := b.wadi(t, "apply", "-detach", "-token", "alice", file(t, hello)); o.code != 0 {
		t.Fatalf("got %+v", o)
	}
	o := b.wadi(t, "revision", "inspect", "-token", "alice", "hello-00001")
	var rev wadi.Revision
	if err := json.Unmarshal([]byte(o.stdout), &rev); err != nil || o.code != 0 {
		t.Fatalf("%v: %+v", err, o)
	}
	if rev.ID != "hello-00001" || rev.Spec.Name != "hello" || len(rev.Job) == 0 || rev.Proof != "" {
		t.Errorf("got %s", o.stdout)
	}
	for _, command := range []string{"inspect", "job"} {
		if o := b.wadi(t, "revision", command, "-token", "bob", "hello-00001"); o.code != 1 || o.stdout != "" || !strings.Contains(o.stderr, "not found") {
			t.Errorf("%s: got %+v", command, o)
		}
	}
}
