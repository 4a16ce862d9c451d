//go:build e2e

package dataplane_test

import (
	"strings"
	"testing"
)

// TestPaths: the app gets the target of the request line as the caller wrote it, byte for
// byte, and the host. (Envoys in a mesh may normalise a path, so this test is without
// one.)
func TestPaths(t *testing.T) {
	t.Parallel()
	const name = "paths"
	up(t, name, options{})
	w := dial(t, name)
	for _, target := range []string{
		"/", "//", "/a//b", "/a/./b", "/a/../b", "/a/b/..", "/%2e%2e/a", "/a%2Fb", "/a%2fb", "/a%252Fb", "/a%20b", "/a+b", "/a;b=c/d", "/%ff%fe",
		"/a?", "/a??b", "/a?b=c&b=d;e", "/a?b=%zz", "/a?/../b", "/a?b=%2F", "/~a", "/a:b@c", "/'(a)*!$&,=", "/a|b^c`{}", "/\"<>\"", "/ü?ü",
		"/" + strings.Repeat("long/", 1500),
	} {
		w.ask("GET", target)
		res := w.answer("GET")
		got, _, _ := strings.Cut(w.body(res), "\n")
		if want := "GET " + target + " HTTP/1.1"; res.StatusCode != 200 || got != want {
			t.Errorf("got %d %.100q, want %.100q", res.StatusCode, got, want)
		}
	}
	w.ask("OPTIONS", "/uri", "X-Case: As-Is", "x-lower: 1", "X-Twice: a", "X-Twice: b, c", "X-Empty:", "X-Bytes: \xff\xfe ü")
	got := w.body(w.answer("OPTIONS"))
	for _, want := range []string{"Host: " + w.host + "\n", "X-Case: As-Is\r\n", "X-Twice: a\r\nX-Twice: b, c\r\n", "X-Empty: \r\n", "X-Bytes: \xff\xfe ü\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("the app got\n%q\nwant %q", got, want)
		}
	}
}
