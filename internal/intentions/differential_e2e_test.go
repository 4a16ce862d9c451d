//go:build e2e

package intentions_test

import (
	"bufio"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi/internal/intentions"
)

// A Table answers like a real Envoy, or more strictly where that is listed.
func TestE2E_AsEnvoy(t *testing.T) {
	for _, policy := range []string{"allow", "deny"} {
		t.Run("default_"+policy, func(t *testing.T) {
			s := newStage(t, policy)
			for _, set := range sets() {
				entries := s.apply(set.entries...)
				compare(t, s, set, intentions.New(entries, policy == "allow"))
			}
			if policy == "allow" {
				paths(t, s)
			}
		})
	}
}

func compare(t *testing.T, s *stage, set set, table *intentions.Table) {
	t.Helper()
	alike := map[bool]int{}
	for _, caller := range []string{"web", "api", "stranger"} {
		c := &session{s: s, caller: caller}
		for _, q := range requests() {
			status, _ := c.do(q.raw())
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(q.raw())))
			ours, why := err == nil, "Go takes it for no request"
			if err == nil {
				ours, why = table.Evaluate(caller, service, intentions.Of(r))
			}
			theirs := status == 200 || status == 404 // It has no route for *.
			switch {
			case status == 400: // No request to Envoy, which applied no intention.
			case !theirs && status != 403:
				t.Errorf("%s, %s, %s: envoy answered %d", set.name, caller, q.name, status)
			case ours && !theirs:
				t.Errorf("%s, %s, %s: LAXER: allowed, envoy answers %d", set.name, caller, q.name, status)
			case !ours && theirs && q.stricter == "" && set.stricter[caller] == "" && set.stricter["*"] == "":
				t.Errorf("%s, %s, %s: refused (%s), envoy allows it", set.name, caller, q.name, why)
			case ours == theirs:
				alike[ours]++
			}
		}
		c.close()
	}
	if alike[true] == 0 && alike[false] == 0 {
		t.Errorf("%s: nothing was compared", set.name)
	}
}

// paths compares the normalization of a path with Envoy's.
func paths(t *testing.T, s *stage) {
	t.Helper()
	s.apply()
	parts := []string{"/", "//", "/", ".", "..", "/.", "/..", "%2e", "%2E", "%2e%2E", `\`, "%5c", "%2F", "a", "b.c", "%41", "%7e", "~", "{", "}",
		"\"", "<", "^", "`", "|", "[", "]", "é", "%c3%a9", ";", ",", "@", "%25", "%252e", "+", "!", "'", "$", "%00", "%7f", "%ff", "\xff", "…"}
	rnd := rand.New(rand.NewPCG(1, 2))
	c := &session{s: s, caller: "web"}
	defer c.close()
	same, refused := 0, map[int]int{}
	for range 3000 {
		path := "/"
		for range 1 + rnd.IntN(7) {
			path += parts[rnd.IntN(len(parts))]
		}
		status, seen := c.do("GET " + path + "?q=../x HTTP/1.1\r\nHost: hello\r\n\r\n")
		want, ok := intentions.Normalize(path)
		seen = strings.TrimSuffix(seen, "?q=../x")
		switch {
		case status == 200 && ok && seen != want:
			t.Errorf("%q: envoy passes on %q, we judge %q", path, seen, want)
		case status == 200 && !ok && !strings.Contains(path, "\xff"):
			t.Errorf("%q: envoy passes on %q, we refuse it", path, seen)
		case status == 200 && intentions.Plain(path) && seen != path:
			t.Errorf("%q is plain, but envoy passes on %q", path, seen)
		case status == 200:
			same++
		default:
			refused[status]++
		}
	}
	t.Logf("%d paths alike, refused by envoy: %v", same, refused)
	if same < 1000 {
		t.Error("envoy took hardly any path")
	}
}

type set struct {
	name     string
	entries  []*api.ServiceIntentionsConfigEntry
	stricter map[string]string // Why a Table may refuse a caller that Envoy allows.
}

func entry(name string, sources ...*api.SourceIntention) *api.ServiceIntentionsConfigEntry {
	return &api.ServiceIntentionsConfigEntry{Name: name, Sources: sources}
}

func l4(name string, action api.IntentionAction) *api.SourceIntention {
	return &api.SourceIntention{Name: name, Action: action}
}

func l7(name string, permissions ...*api.IntentionPermission) *api.SourceIntention {
	return &api.SourceIntention{Name: name, Permissions: permissions}
}

func may(h api.IntentionHTTPPermission) *api.IntentionPermission {
	return &api.IntentionPermission{Action: "allow", HTTP: &h}
}

func mayNot(h api.IntentionHTTPPermission) *api.IntentionPermission {
	return &api.IntentionPermission{Action: "deny", HTTP: &h}
}

func header(h ...api.IntentionHTTPHeaderPermission) api.IntentionHTTPPermission {
	return api.IntentionHTTPPermission{Header: h}
}

func sets() []set {
	type h = api.IntentionHTTPHeaderPermission
	type p = api.IntentionHTTPPermission
	one := func(name string, entries ...*api.ServiceIntentionsConfigEntry) set {
		return set{name: name, entries: entries}
	}
	except := func(s set, caller, why string) set {
		s.stricter = map[string]string{caller: why}
		return s
	}
	// `* → hello` comes before `web → *`, by Consul's documentation and its own
	// check. Envoy is given rules by which either may let web in, where the default
	// is to deny.
	const precedence = "by precedence it is denied"
	all := []set{
		one("none"),
		one("exact source", entry(service, l4("web", "allow"), l4("api", "deny"))),
		one("deny all but web", entry(service, l4("web", "allow"), l4("*", "deny"))),
		one("allow all but web", entry(service, l4("web", "deny"), l4("*", "allow"))),
		one("wildcard destination", entry("*", l4("web", "allow"), l4("api", "deny"))),
		one("wildcards only", entry("*", l4("web", "deny"), l4("*", "allow"))),
		one("wildcards only, deny", entry("*", l4("web", "allow"), l4("*", "deny"))),
		one("exact before wildcard destination", entry(service, l4("web", "deny"), l4("api", "allow")), entry("*", l4("web", "allow"), l4("api", "deny"), l4("*", "deny"))),
		except(one("wildcard source before wildcard destination: deny", entry(service, l4("*", "deny")), entry("*", l4("web", "allow"))), "web", precedence),
		one("wildcard source before wildcard destination: allow", entry(service, l4("*", "allow")), entry("*", l4("web", "deny"))),
		one("methods; the rest is left to the default", entry(service, l7("web", may(p{Methods: []string{"GET", "HEAD"}})), l4("*", "deny"))),
		one("methods denied", entry(service, l7("*", mayNot(p{Methods: []string{"DELETE", "POST"}})), l4("api", "allow"))),
		one("admin denied", entry(service, l7("web", mayNot(p{PathPrefix: "/admin"}), may(p{PathPrefix: "/"})), l7("api", may(p{PathExact: "/admin"}), mayNot(p{PathPrefix: "/"})))),
		one("order", entry(service, l7("web", may(p{PathPrefix: "/admin/ok"}), mayNot(p{PathPrefix: "/admin"}), may(p{PathRegex: "/.*"})))),
		one("regex", entry(service, l7("web", may(p{PathRegex: "/a[a-z]+"}), mayNot(p{PathRegex: ".*"})), l7("*", mayNot(p{PathRegex: "/admin|/x(/.*)?"})))),
		one("double slash", entry(service, l7("web", mayNot(p{PathPrefix: "//"}), may(p{PathPrefix: "/"})))),
		one("two parts", entry(service, l7("web", may(p{PathPrefix: "/admin", Methods: []string{"GET"}, Header: []h{{Name: "X-Debug", Present: true}}}), mayNot(p{PathPrefix: "/"})))),
		except(one("on top of a wildcard destination", entry(service, l7("*", mayNot(p{PathPrefix: "/admin"}))), entry("*", l4("web", "deny"), l4("stranger", "allow"))), "stranger", precedence),
	}
	for name, rule := range map[string]h{
		"present": {Present: true}, "absent": {Present: true, Invert: true},
		"exact": {Exact: "one"}, "exact, any case": {Exact: "One", IgnoreCase: true}, "exact of two": {Exact: "one,two"},
		"prefix": {Prefix: "on"}, "suffix": {Suffix: "wo"}, "suffix, any case": {Suffix: "WO", IgnoreCase: true}, "contains": {Contains: "e,t"},
		"regex": {Regex: "o.*"}, "regex, not": {Regex: "o.*", Invert: true}, "exact, not": {Exact: "one", Invert: true}, "contains, not": {Contains: "n", Invert: true},
	} {
		rule.Name = "X-Debug"
		all = append(all, one("header "+name, entry(service, l7("web", may(header(rule))), l7("*", mayNot(header(rule))))))
	}
	for name, stricter := range map[string]string{
		"Cookie": "", "Host": "", ":authority": "", ":method": "", "Accept": "", "X_Under": "",
		":path": "a reading of the path", ":scheme": "Envoy's own", "Content-Length": "the connection's", "Connection": "the connection's", "Te": "the connection's",
		"X-Forwarded-Client-Cert": "Envoy's own", "X-Forwarded-Proto": "Envoy's own where there is none", "X-Request-Id": "Envoy's own where there is none",
	} {
		rule := h{Name: name, Regex: ".*[aeiou/].*"}
		all = append(all, except(one("header named "+name, entry(service, l7("web", may(header(rule))), l7("*", mayNot(header(rule))))), "*", stricter))
	}
	slices.SortStableFunc(all, func(a, b set) int { return strings.Compare(a.name, b.name) })
	return all
}

type request struct {
	name, method, target string
	headers              []string
	stricter             string // Why a Table may refuse a request that Envoy allows.
}

func (q request) raw() string {
	return q.method + " " + q.target + " HTTP/1.1\r\nHost: hello\r\n" + strings.Join(append(q.headers, ""), "\r\n") + "\r\n"
}

func requests() []request {
	const readings = "the mesh's configuration decides which reading counts"
	all := []request{
		{name: "post", method: "POST", target: "/", headers: []string{"Content-Length: 0"}},
		{name: "delete", method: "DELETE", target: "/admin"},
		{name: "head", method: "HEAD", target: "/abc"},
		{name: "own method", method: "BREW", target: "/"},
		{name: "lower case method", method: "get", target: "/"},
		{name: "options *", method: "OPTIONS", target: "*", stricter: "it has no path"},
		{name: "absolute form", method: "GET", target: "http://hello/admin?x=1"},
	}
	for target, stricter := range map[string]string{
		"/": "", "/admin": "", "/admin/": "", "/adm": "", "/administrator": "", "/admin?x=/ok": "", "/abc": "", "/ABC": "", "/x": "", "/x/y": "",
		"/admin/ok": "", "/?/admin": "", "/admin;x=1": "", "/a:b@c,d": "", "/admin?": "", "/Admin": "", "/x/.hidden": readings, "/x/...": readings,
		"/x/../admin": readings, "/admin/../x": readings, "/./admin": readings, "/x/%2e%2E/admin": readings, "/%2e/admin": readings, "/../admin": readings,
		"//admin": readings, "/admin//x": readings, `/\admin`: readings, `\admin`: readings, `/x\..\admin`: readings, "/%61dmin": readings, "/%41BC": readings,
		"/x%2f..%2fadmin": readings, "/%2fadmin": readings, "/admin%2fok": readings, "/%5cadmin": readings, "/admin%00": readings, "/x%20y": readings,
		"/x#/admin": readings, "/admin#": readings, "/ünï": readings, "/%zz": readings, "/admin%": readings, "/x/..": readings, "/admin/ok/..": readings,
	} {
		all = append(all, request{name: "GET " + target, method: "GET", target: target, stricter: stricter})
	}
	for _, lines := range [][]string{
		{"X-Debug: one"}, {"X-Debug: ONE"}, {"X-Debug: two"}, {"X-Debug: one", "X-Debug: two"}, {"x-debug: one,two"}, {"X-Debug:"}, {"X-Debug:   one  "},
		{"X-Debug: two", "X-Other: 1", "X-DEBUG: one"}, {"X-Debug: one, two"}, {"X-Debug: \u212Aone"}, {"X-Debugger: one"}, {"X-Debug: ", "X-Debug: one"},
		{"Accept: a", "Accept: b"}, {"Cookie: a=1"}, {"X_Under: a"}, {"X-Request-Id: abc"}, {"X-Forwarded-Proto: https"}, {"X-Forwarded-Client-Cert: a"}, {"Te: trailers"},
	} {
		all = append(all, request{name: strings.Join(lines, "; "), method: "GET", target: "/admin", headers: lines})
	}
	return append(all,
		request{name: "two cookies", method: "GET", target: "/admin", headers: []string{"Cookie: a=1", "Cookie: b=2"}, stricter: "how they are joined depends on the protocol"},
		request{name: "not UTF-8", method: "GET", target: "/admin", headers: []string{"X-Debug: o\xffe"}, stricter: "regular expressions differ about it"})
}
