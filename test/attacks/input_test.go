//go:build e2e

package attacks_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// Input that is large, deep, strange or endless is refused, by its size before it is read,
// and the agent goes on.
func TestAttack_Input(t *testing.T) {
	t.Parallel()
	token := []string{"X-Nomad-Token", alice}
	deep := func(n int) string { return strings.Repeat(`{"files":[`, n) }
	hcl := func(inside string) string {
		return encoded(strings.Replace(in("alice", "deep", ""), "command = \"hello\"", inside, 1))
	}
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	_, _ = zip.Write(make([]byte, 64<<20))
	_ = zip.Close()
	for name, r := range map[string]request{
		"a large body":               {body: encoded(strings.Repeat("# comment\n", 1<<20))},
		"a large number of files":    {body: `{"files":[` + strings.Repeat(`{"name":"a.hcl","source":""},`, 50_000) + `{"name":"b.hcl","source":""}]}`},
		"nested JSON":                {body: deep(100_000)},
		"nested lists in JSON":       {body: `{"files":` + strings.Repeat("[", 200_000)},
		"nested HCL lists":           {body: hcl("command = " + strings.Repeat("[", 50_000) + strings.Repeat("]", 50_000))},
		"nested HCL parentheses":     {body: hcl("command = " + strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000))},
		"nested HCL blocks":          {body: hcl(strings.Repeat("a {\n", 20_000) + strings.Repeat("}\n", 20_000))},
		"nested HCL templates":       {body: hcl(`command = "` + strings.Repeat("${\"", 20_000) + strings.Repeat("\"}", 20_000) + `"`)},
		"nested service blocks":      {body: encoded(strings.Repeat("service \"a\" {\n", 20_000) + strings.Repeat("}\n", 20_000))},
		"growing locals":             {body: encoded(growing(40) + in("alice", "deep", ""))},
		"a growing for":              {body: encoded("locals {\n  a = [for i in range(100000): [for j in range(100000): i]]\n}\n" + in("alice", "deep", ""))},
		"many services":              {body: encoded(strings.Repeat(in("alice", "one", ""), 2000))},
		"a compressed body":          {body: bomb.String(), header: []string{"Content-Encoding", "gzip"}},
		"garbage":                    {body: strings.Repeat("\x00\xff", 1000)},
		"two values":                 {body: encoded(in("alice", "two", "")) + encoded(in("alice", "two", ""))},
		"an unknown key":             {body: `{"files":[],"token":"x"}`},
		"a long name":                {body: encoded(in("alice", strings.Repeat("n", 5000), ""))},
		"a name that leads away":     {body: encoded(in("alice", "../../bobs", ""))},
		"a name with a slash":        {body: encoded(in("alice", "a/b", ""))},
		"a name like another script": {body: encoded(in("alice", "b\u03bfbs", ""))},
		"a file name that leads away": {body: strings.Replace(encoded(in("alice", "filed", "scale_ = 1")), "attack.hcl",
			"../../../etc/passwd", 1)},
	} {
		r.method, r.path, r.header = "POST", "/v1/services/validate", append(r.header, token...)
		res, err := try(t, stack.Agent, r)
		if err != nil && !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "broken pipe") {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (res.Status < 400 || res.Status >= 500 || len(res.Body) > 1<<20) {
			t.Errorf("%s: got %d and %d bytes: %.300s", name, res.Status, len(res.Body), res.Body)
		}
	}
	for name, path := range map[string]string{
		"a path that leads away":    "/v1/service/..%2f..%2fwadi%2fspec%2fbobs",
		"a path with a zero byte":   "/v1/service/bobs%00",
		"a long path":               "/v1/service/" + strings.Repeat("a", 30_000),
		"a revision that leads off": "/v1/revision/..%2fbobs-00001",
		"a path of another script":  "/v1/service/b%CE%BFbs",
		"a huge query":              "/v1/services?" + strings.Repeat("a=b&", 10_000),
		"a huge index":              "/v1/services?index=" + strings.Repeat("9", 1000),
		"an endless wait":           "/v1/services?index=1&wait=99999999h",
		"a negative wait":           "/v1/services?index=1&wait=-1s",
	} {
		if res := ask(t, stack.Agent, request{method: "GET", path: path, header: token}); res.Status < 400 || res.Status >= 500 || strings.Contains(res.Body, "bob\"") {
			t.Errorf("%s: got %d %.300s", name, res.Status, res.Body)
		}
	}
	must(t, "the agent goes on", stack.Agent.Client.Health(t.Context()))
}

// growing are locals of which each is ten times as long as the one before.
func growing(n int) string {
	var b strings.Builder
	b.WriteString("locals {\n  v0 = \"0123456789\"\n")
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "  v%d = \"%s\"\n", i, strings.Repeat(fmt.Sprintf("${local.v%d}", i-1), 10))
	}
	return b.String() + "}\n"
}

// Headers without end, bodies without end, and requests that two programs could read in two
// ways are cut off.
func TestAttack_EndlessRequests(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ begin, again string }{
		"a header without end":        {"GET /v1/services HTTP/1.1\r\nHost: localhost\r\nX: ", strings.Repeat("x", 1<<16)},
		"headers without end":         {"GET /v1/services HTTP/1.1\r\nHost: localhost\r\n", strings.Repeat("X-Filler: aaaaaaaaaaaaaaaa\r\n", 1<<11)},
		"a request line without end":  {"GET /", strings.Repeat("x", 1<<16)},
		"a chunked body without end":  {"PUT /v1/services HTTP/1.1\r\nHost: localhost\r\nX-Nomad-Token: " + alice + "\r\nTransfer-Encoding: chunked\r\n\r\n", "10000\r\n" + strings.Repeat(" ", 1<<16) + "\r\n"},
		"an announced body of a TiB":  {"PUT /v1/services HTTP/1.1\r\nHost: localhost\r\nX-Nomad-Token: " + alice + "\r\nContent-Length: 1099511627776\r\n\r\n", strings.Repeat(" ", 1<<16)},
		"a body that no handler uses": {"GET /v1/services HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1099511627776\r\n\r\n", strings.Repeat(" ", 1<<16)},
		"trailers without end":        {"PUT /v1/services HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\n", strings.Repeat("X: aaaaaaaaaaaaaaaaaaaa\r\n", 1<<11)},
		"two lengths":                 {"PUT /v1/services HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\n", strings.Repeat(" ", 1<<16)},
	} {
		for _, a := range []*harness.Agent{stack.Agent, open} {
			conn := raw(t, a.API)
			_ = conn.SetWriteDeadline(time.Now().Add(waitLong))
			if _, err := io.WriteString(conn, tt.begin); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			sent := 0
			for sent < 1<<30 {
				n, err := io.WriteString(conn, tt.again)
				if sent += n; err != nil {
					break
				}
			}
			if sent >= 1<<30 {
				t.Errorf("%s: %s took a GiB", name, a.Name)
			}
			if _, err := ended(conn); err != nil {
				t.Errorf("%s: %s: %v", name, a.Name, err)
			}
		}
	}
	must(t, "the agent goes on", stack.Agent.Client.Health(t.Context()))
}
