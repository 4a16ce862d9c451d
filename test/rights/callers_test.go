//go:build e2e

package rights_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// callers are the rules of tokens in Nomad. The service is in the namespace default.
func callers() map[string]string {
	capability := func(c string) string { return fmt.Sprintf(`namespace "default" { capabilities = [%q] }`, c) }
	level := func(l string) string { return fmt.Sprintf(`namespace "default" { policy = %q }`, l) }
	return map[string]string{
		"elsewhere": `namespace "other" { policy = "write" }`,
		"list-jobs": capability("list-jobs"), "read-job": capability("read-job"),
		"scale-job": capability("scale-job"), "submit-job": capability("submit-job"),
		"read": level("read"), "scale": level("scale"), "write": level("write"),
		"agent:write": `agent { policy = "write" }`,
	}
}

// calls are the bodies and the queries of the operations that need one.
func calls(t *testing.T) map[string]struct{ body, query string } {
	submission, err := json.Marshal(api.Submission{Files: []api.File{{Name: "hello.hcl", Source: harnesstest.Hello("called", "min = 0", "")}}})
	harnesstest.Must(t, "encode", err)
	return map[string]struct{ body, query string }{
		"PUT /v1/services":             {body: string(submission)},
		"POST /v1/services/validate":   {body: string(submission)},
		"POST /v1/services/plan":       {body: string(submission)},
		"PUT /v1/service/{name}/scale": {body: "{}"},
		// Another index: nothing is changed.
		"PUT /v1/service/{name}/traffic":  {body: `{"targets": [{"revision": "latest"}], "check_index": 1}`},
		"PUT /v1/service/{name}/rollback": {body: `{"check_index": 1}`},
		"PUT /v1/service/{name}/rollout":  {body: `{"action": "pause", "check_index": 1}`},
		"DELETE /v1/service/{name}":       {query: "?index=1"}, // Another index: nothing is deleted.
		"GET /v1/events":                  {query: "?follow=false"},
	}
}

// A caller of another machine may do what its own token may in Nomad, and never what the
// agent's may: docs/security.md has the table, of each operation in the description of the
// API by each kind of token.
func TestCallers_EachByEach(t *testing.T) {
	harnesstest.Must(t, "make a namespace", namespace(t, "other"))
	a := onNetwork(t, "wadi-open")
	harnesstest.Must(t, "apply", stack.Agent.Apply(t.Context(), harnesstest.Hello("called", "min = 0", "")))
	t.Cleanup(func() {
		harnesstest.Must(t, "delete", stack.Agent.Delete(context.WithoutCancel(t.Context()), "called"))
	})
	tokens := map[string]string{"nobody": "", "unknown": unknown, "management": management}
	c := &cluster{}
	for name, rules := range callers() {
		tokens[name] = c.token(t, rules).SecretID
	}
	want, columns := table(t)
	got := map[string]map[string]string{}
	for _, operation := range operations(t) {
		got[operation] = map[string]string{}
		var mu sync.Mutex
		var wg sync.WaitGroup // A refusal takes a second: it is asked again.
		for _, name := range columns {
			wg.Go(func() {
				cell, err := answer(t, a, operation, tokens[name])
				mu.Lock()
				defer mu.Unlock()
				got[operation][name] = cell
				if err != nil {
					got[operation][name] = err.Error()
				}
			})
		}
		wg.Wait()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-docs/security.md +got):\n%s\n%s", diff, markdown(got, columns))
	}
}

// onNetwork starts an agent whose API other machines can reach.
func onNetwork(t *testing.T, name string) *harness.Agent {
	t.Helper()
	ports, err := freeport.Ports(1)
	harnesstest.Must(t, "find a port", err)
	addr := net.JoinHostPort(stack.Cluster.HostIP, strconv.Itoa(ports[0]))
	a, err := stack.NewAgent(name, fmt.Sprintf("http {\n  address = %q\n}\n", addr))
	harnesstest.Must(t, "configure "+name, err)
	a.API = addr
	a.Client, err = api.New(api.Config{Address: "http://" + addr, Token: a.Tokens.Nomad})
	harnesstest.Must(t, "make a client", err)
	harnesstest.Must(t, "start "+name, a.Start(t.Context()))
	t.Cleanup(func() { harnesstest.Must(t, "stop "+name, a.Stop(context.WithoutCancel(t.Context()))) })
	harnesstest.Must(t, "wait for "+name, a.WaitLeader(t.Context()))
	return a
}

// operations are those of the API's own description, and the admin plane.
func operations(t *testing.T) []string {
	t.Helper()
	var doc struct{ Paths map[string]map[string]any }
	harnesstest.Must(t, "read the description", json.Unmarshal(api.OpenAPI(), &doc))
	all := []string{"GET /v1/admin/dump"}
	for path, methods := range doc.Paths {
		for method := range methods {
			if slices.Contains([]string{"get", "put", "post", "delete"}, method) {
				all = append(all, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(all)
	return all
}

// answer is "yes" if a token may make a call, "none" if it may and gets nothing to see,
// else "no".
func answer(t *testing.T, a *harness.Agent, operation, token string) (string, error) {
	method, path, _ := strings.Cut(operation, " ")
	path = strings.NewReplacer("{name}", "called", "{id}", "called-00001").Replace(path)
	with := calls(t)[operation]
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+a.API+path+with.query, strings.NewReader(with.body))
	if err != nil {
		return "", err
	}
	if with.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("X-Nomad-Token", token)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	text := string(body)
	switch {
	case res.StatusCode == http.StatusForbidden, res.StatusCode == http.StatusUnauthorized,
		res.StatusCode == http.StatusNotFound && strings.Contains(text, "may not know of it"):
		return "no", nil
	case res.StatusCode == http.StatusOK && slices.Contains([]string{"GET /v1/services", "GET /v1/events"}, operation) && !strings.Contains(text, "called"):
		return "none", nil
	case res.StatusCode == http.StatusOK, res.StatusCode == http.StatusConflict:
		return "yes", nil
	}
	return "", fmt.Errorf("%s: %s", res.Status, text)
}

// table is the one of docs/security.md, and its columns.
func table(t *testing.T) (cells map[string]map[string]string, columns []string) {
	t.Helper()
	root, err := harness.Root()
	harnesstest.Must(t, "find the checkout", err)
	page, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	harnesstest.Must(t, "read the page", err)
	cells = map[string]map[string]string{}
	for line := range bytes.Lines(page) {
		row := strings.Split(strings.Trim(strings.TrimSpace(string(line)), "|"), "|")
		for i := range row {
			row[i] = strings.Trim(strings.TrimSpace(row[i]), "`")
		}
		switch {
		case row[0] == "call, token":
			columns = row[1:]
		case len(columns) > 0 && len(row) == len(columns)+1 && strings.Contains(row[0], " /"):
			cells[row[0]] = map[string]string{}
			for i, name := range columns {
				cells[row[0]][name] = row[i+1]
			}
		}
	}
	if len(columns) == 0 {
		t.Fatal("docs/security.md has no table of calls and tokens")
	}
	return cells, columns
}

// markdown renders cells as the page has them.
func markdown(cells map[string]map[string]string, columns []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| call, token | `%s` |\n|%s\n", strings.Join(columns, "` | `"), strings.Repeat("---|", len(columns)+1))
	for _, operation := range slices.Sorted(maps.Keys(cells)) {
		fmt.Fprintf(&b, "| `%s` |", operation)
		for _, name := range columns {
			fmt.Fprintf(&b, " %s |", cells[operation][name])
		}
		b.WriteString("\n")
	}
	return b.String()
}
