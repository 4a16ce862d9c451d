package nomad_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/nomad"
)

// client returns a Client that calls h.
func client(t *testing.T, h http.Handler) *nomad.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := nomad.New(nomad.Config{Address: s.URL, Token: "own"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// answer gives every request the same answer.
func answer(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(code)
		_, _ = fmt.Fprint(w, body)
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		code int
		body string
		want error
	}{
		{"forbidden", 403, "Permission denied", wadi.ErrForbidden},
		{"forbidden by a forwarding agent", 500, "rpc error: Permission denied", wadi.ErrForbidden},
		{"no leader, by a forwarding agent", 500, "rpc error: No cluster leader", wadi.ErrUnavailable},
		{"a server that goes away", 500, "rpc error: EOF", wadi.ErrUnavailable},
		{"no such job", 404, "job not found", wadi.ErrNotFound},
		{"stale index", 500, "Enforcing job modify index 1: job exists with conflicting job modify index: 25", wadi.ErrConflict},
		{"no leader", 500, "No cluster leader", wadi.ErrUnavailable},
		{"too many connections", 429, "Your IP is issuing too many concurrent connections", wadi.ErrUnavailable},
		{"too large", 413, "body too large", wadi.ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := client(t, answer(tt.code, tt.body))
			_, _, err := c.Scale(t.Context(), "default", "hello-00001", 1, 7, "wake", nil)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if !strings.Contains(err.Error(), strings.TrimPrefix(tt.body, "rpc error: ")) {
				t.Fatalf("error %q lacks nomad's words", err)
			}
		})
	}
	t.Run("connection refused", func(t *testing.T) {
		c, err := nomad.New(nomad.Config{Address: "http://127.0.0.1:1"})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Health(t.Context()); !errors.Is(err, wadi.ErrUnavailable) {
			t.Fatalf("got %v, want %v", err, wadi.ErrUnavailable)
		}
	})
	t.Run("context ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := client(t, answer(200, "{}")).Health(ctx)
		if !errors.Is(err, context.Canceled) || errors.Is(err, wadi.ErrUnavailable) {
			t.Fatalf("got %v, want %v", err, context.Canceled)
		}
	})
}

// A client agent passes on a server's complaint about a job, with a prefix of its own.
func TestRegister_RefusedThroughAClientAgent(t *testing.T) {
	c := client(t, answer(500, "rpc error: 1 error occurred:\n\t* Missing job task groups\n\n"))
	_, err := c.RegisterAt(t.Context(), "", json.RawMessage(`{"ID":"a","Namespace":"default"}`), 0)
	var invalid *nomad.InvalidError
	if !errors.As(err, &invalid) || strings.Contains(invalid.Text, "rpc error") {
		t.Fatalf("got %v, want an InvalidError in the server's words", err)
	}
}

func TestTooManyRequestsIsRetried(t *testing.T) {
	var calls atomic.Int32
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if calls.Add(1) < 3 {
			answer(429, "slow down")(w, r)
			return
		}
		if !strings.Contains(string(body), `"Count":2`) {
			t.Errorf("the last try had body %q", body)
		}
		answer(200, `{"JobModifyIndex":9,"EvalID":"e"}`)(w, r)
	}))
	index, eval, err := c.Scale(t.Context(), "default", "hello-00001", 2, 0, "", nil)
	if err != nil || index != 9 || eval != "e" {
		t.Fatalf("got %d %q %v, want 9 e", index, eval, err)
	}
	if calls.Load() != 3 {
		t.Fatalf("calls=%d, want 3", calls.Load())
	}
}

func TestParseJob(t *testing.T) {
	t.Run("as nomad wrote it", func(t *testing.T) {
		want := `{"ID":"x","Unknown":{"of":["a later nomad",18446744073709551615]}}`
		got, err := client(t, answer(200, want)).ParseJob(t.Context(), "", "default", "job {}", "")
		if err != nil || string(got) != want {
			t.Fatalf("got %s %v", got, err)
		}
	})
	t.Run("in the service's namespace", func(t *testing.T) {
		_, err := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("namespace") != "payments" {
				http.Error(w, "Permission denied", http.StatusForbidden)
				return
			}
			_, _ = io.WriteString(w, "{}")
		})).ParseJob(t.Context(), "limited", "payments", "job {}", "")
		if err != nil {
			t.Fatal(err)
		}
	})
	t.Run("nomad's words", func(t *testing.T) {
		want := "input.hcl:5,7-11: Unsupported argument; An argument named \"cpuu\" is not expected here."
		_, err := client(t, answer(400, want)).ParseJob(t.Context(), "", "default", "job {}", "")
		var pe *nomad.ParseError
		if !errors.As(err, &pe) || pe.Text != want {
			t.Fatalf("got %#v, want a ParseError", err)
		}
	})
}

func TestRegisterPassesTheJobThrough(t *testing.T) {
	var got struct {
		Job            map[string]any
		EnforceIndex   bool
		JobModifyIndex uint64
	}
	var token, namespace string
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, namespace = r.Header.Get("X-Nomad-Token"), r.URL.Query().Get("namespace")
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		answer(200, `{"JobModifyIndex":12}`)(w, r)
	}))
	job := json.RawMessage(`{"ID":"hello-00001","Namespace":"prod","New":{"a":1},"TaskGroups":[{"Name":"instance","Count":0,"Odd":[1]}]}`)
	index, err := c.Register(t.Context(), "callers", job, 3, 11)
	if err != nil || index != 12 {
		t.Fatalf("got %d %v", index, err)
	}
	want := map[string]any{
		"ID": "hello-00001", "Namespace": "prod", "New": map[string]any{"a": 1.0},
		"TaskGroups": []any{map[string]any{"Name": "instance", "Count": 3.0, "Odd": []any{1.0}}},
	}
	if d := cmp.Diff(want, got.Job); d != "" {
		t.Fatal(d)
	}
	if !got.EnforceIndex || got.JobModifyIndex != 11 || token != "callers" || namespace != "prod" {
		t.Fatalf("guard=%v index=%d token=%q namespace=%q", got.EnforceIndex, got.JobModifyIndex, token, namespace)
	}
}

func TestRegisterNewIsGuarded(t *testing.T) {
	var body string
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body = string(b)
		if r.Header.Get("X-Nomad-Token") != "" {
			t.Error("an anonymous caller got a token")
		}
		answer(500, "Enforcing job modify index 0: job already exists")(w, r)
	}))
	_, err := c.RegisterAt(t.Context(), "", json.RawMessage(`{"ID":"hello-00001"}`), 0)
	if !errors.Is(err, wadi.ErrConflict) {
		t.Fatalf("got %v, want %v", err, wadi.ErrConflict)
	}
	if want := `"EnforceIndex":true,"JobModifyIndex":0`; !strings.Contains(body, want) {
		t.Fatalf("body %s lacks %s", body, want)
	}
}

func TestPlan(t *testing.T) {
	job := json.RawMessage(`{"ID":"hello-00001"}`)
	for _, tt := range []struct {
		name, answer string
		want         nomad.Plan
	}{
		{
			"an edited object without an edited field is no change",
			`{"JobModifyIndex":4,"Diff":{"Type":"Edited","TaskGroups":[{"Name":"instance","Type":"Edited","Objects":[{"Name":"Scaling","Type":"Edited"}],"Tasks":[{"Name":"web","Type":"None"}]}]}}`,
			nomad.Plan{JobModifyIndex: 4},
		},
		{
			"an edited field of a task is",
			`{"Diff":{"Type":"Edited","TaskGroups":[{"Name":"instance","Type":"Edited","Tasks":[{"Name":"web","Type":"Edited","Objects":[{"Name":"Resources","Type":"Edited","Fields":[{"Name":"CPU","Type":"Edited","Old":"1","New":"2"}]}]}]}]}}`,
			nomad.Plan{Changed: true},
		},
		{"a new job is", `{"Diff":{"Type":"Added"}}`, nomad.Plan{Changed: true}},
		{
			"no node fits",
			`{"Warnings":" w ","FailedTGAllocs":{"instance":{"NodesEvaluated":3,"NodesAvailable":{"dc1":3},"DimensionExhausted":{"memory":1},"ConstraintFiltered":{"${attr.kernel.name} = windows":2}}}}`,
			nomad.Plan{Warnings: "w", FailedPlacements: `no node fits: constraint "${attr.kernel.name} = windows" excludes 2 nodes; memory exhausted on 1 node`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := client(t, answer(200, tt.answer)).PlanJob(t.Context(), "t", job, true)
			if err != nil {
				t.Fatal(err)
			}
			got.Diff = wadi.Change{} // Below.
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Fatal(d)
			}
		})
	}
	// Nomad 1.11.3's answer, passed on by a client agent.
	t.Run("a workload's identity", func(t *testing.T) {
		for token, unknown := range map[string]bool{"of.a.workload": true, "5f1b6c1e-9999-4000-8000-000000000000": false} {
			got, err := client(t, answer(500, "rpc error: acl token lookup failed: index error: UUID must be 36 characters")).PlanJob(t.Context(), token, job, true)
			if got.Unknown != unknown || (err == nil) != unknown {
				t.Errorf("%s: got %+v, %v", token, got, err)
			}
		}
		// The text of a job that is wrong is the caller's.
		got, err := client(t, answer(500, "rpc error: 1 error occurred:\n\t* Task acl token lookup failed: no driver")).PlanJob(t.Context(), "of.a.workload", job, true)
		if got.Unknown || err == nil {
			t.Errorf("a wrong job: got %+v, %v", got, err)
		}
	})
	t.Run("the diff has the leaves that differ", func(t *testing.T) {
		got, err := client(t, answer(200, `{"Annotations":{"DesiredTGUpdates":{"instance":{"Place":2}}},"Diff":{"Type":"Edited","ID":"hello-00001","Fields":[{"Name":"Priority","Type":"None","Old":"50","New":"50"}],"TaskGroups":[
			{"Name":"instance","Type":"Edited","Objects":[{"Name":"Scaling","Type":"Edited"}],"Tasks":[
				{"Name":"web","Type":"Edited","Annotations":["forces create/destroy update"],"Fields":[{"Name":"Driver","Type":"Edited","Old":"exec","New":"docker"}]},
				{"Name":"log","Type":"Deleted"},{"Name":"queue-proxy","Type":"None"}]}]}}`)).PlanJob(t.Context(), "t", job, true)
		if err != nil {
			t.Fatal(err)
		}
		want := wadi.Change{Kind: wadi.ChangeEdited, Name: `Job: "hello-00001"`, Changes: []wadi.Change{{
			Kind: wadi.ChangeEdited, Name: `Task Group: "instance"`, Changes: []wadi.Change{
				{Kind: wadi.ChangeEdited, Name: `Task: "web"`, Changes: []wadi.Change{{Kind: wadi.ChangeEdited, Name: "Driver", Old: "exec", New: "docker"}}},
				{Kind: wadi.ChangeDeleted, Name: `Task: "log"`},
			},
		}}}
		if d := cmp.Diff(want, got.Diff); d != "" || got.Placed != 2 {
			t.Fatalf("placed %d; diff (-want +got):\n%s", got.Placed, d)
		}
	})
	t.Run("invalid", func(t *testing.T) {
		_, err := client(t, answer(500, "1 error occurred:\n\t* Missing job task groups")).PlanJob(t.Context(), "t", job, true)
		var ie *nomad.InvalidError
		if !errors.As(err, &ie) {
			t.Fatalf("got %v, want an InvalidError", err)
		}
	})
}

// Between two versions of a job that differ only in what Nomad fills in, nothing was edited.
func TestEdited(t *testing.T) {
	const versions = `{"Versions":[{"JobModifyIndex":9},{"JobModifyIndex":7},{"JobModifyIndex":5}],"Diffs":[
		{"Type":"Edited","TaskGroups":[{"Name":"instance","Type":"Edited","Fields":[{"Name":"Count","Type":"Edited","Old":"0","New":"1"}]}]},
		{"Type":"Edited","TaskGroups":[{"Name":"instance","Type":"Edited","Objects":[{"Name":"Scaling","Type":"Edited"}]}]}]}`
	for index, want := range map[uint64]bool{9: true, 7: false, 5: true, 4: false} {
		got, err := client(t, answer(200, versions)).Edited(t.Context(), "t", "default", "hello-00001", index)
		if err != nil || got != want {
			t.Errorf("at %d: got %v, %v, want %v", index, got, err, want)
		}
	}
}

func TestRights(t *testing.T) {
	for _, tt := range []struct {
		name string
		code int
		body string
		want error
	}{
		{"yes", 500, `job "wadi.rights.probe" in namespace "tokens" at version 0 not found`, nil},
		{"yes, by a client agent", 500, `rpc error: job "wadi.rights.probe" in namespace "tokens" at version 0 not found`, nil},
		{"yes, by a server that does not lead", 500, `rpc error: rpc error: job "wadi.rights.probe" in namespace "tokens" at version 0 not found`, nil},
		{"no", 403, "Permission denied", wadi.ErrForbidden},
		{"unknown token", 500, "ACL token not found", wadi.ErrForbidden},
		{"no leader", 500, "No cluster leader", wadi.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := client(t, answer(tt.code, tt.body)).MaySubmit(t.Context(), "x", "default")
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
	if err := client(t, answer(404, "job not found")).MayRead(t.Context(), "x", "default"); err != nil {
		t.Fatal(err)
	}
	if err := client(t, answer(403, "no")).MayRead(t.Context(), "x", "default"); !errors.Is(err, wadi.ErrForbidden) {
		t.Fatal(err)
	}
}

func TestMayAdminister(t *testing.T) {
	const self, right = "/v1/acl/token/self", "/v1/agent/pprof/cmdline"
	type reply struct {
		code int
		body string
	}
	for _, tt := range []struct {
		name    string
		answers map[string]reply
		want    error
	}{
		{"yes", map[string]reply{self: {200, `{"AccessorID": "a"}`}, right: {200, "nomad\x00agent"}}, nil},
		{"no", map[string]reply{self: {200, `{"AccessorID": "a"}`}, right: {403, "Permission denied"}}, wadi.ErrForbidden},
		{"unknown token", map[string]reply{self: {403, "ACL token not found"}, right: {200, ""}}, wadi.ErrForbidden},
		{"without ACLs, with Nomad's debug on, as 1.11.3 says it", map[string]reply{self: {200, `{"AccessorID":"acls-disabled","Name":"ACLs disabled token"}`}, right: {200, ""}}, wadi.ErrForbidden},
		{"without ACLs, with Nomad's debug on", map[string]reply{self: {400, "ACL support disabled"}, right: {200, ""}}, wadi.ErrForbidden},
		{"no leader", map[string]reply{self: {500, "No cluster leader"}, right: {200, ""}}, wadi.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				a := tt.answers[r.URL.Path]
				if got := r.Header.Get("X-Nomad-Token"); got != "theirs" {
					a = reply{500, "asked with token " + got}
				}
				answer(a.code, a.body)(w, r)
			})).MayAdminister(t.Context(), "theirs")
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestPurgeOfAnAbsentJobIsDone(t *testing.T) {
	if err := client(t, answer(404, "job not found")).Purge(t.Context(), "x", "default", "hello-00001"); err != nil {
		t.Fatal(err)
	}
}
