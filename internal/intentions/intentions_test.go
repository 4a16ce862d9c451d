package intentions_test

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/intentions"
)

type (
	config  = api.ServiceIntentionsConfigEntry
	source  = api.SourceIntention
	http7   = api.IntentionHTTPPermission
	header7 = api.IntentionHTTPHeaderPermission
)

func table(defaultAllow bool, sources ...*source) *intentions.Table {
	return intentions.New([]*config{{Name: "hello", Sources: sources}}, defaultAllow)
}

func l4src(name string, action api.IntentionAction) *source {
	return &source{Name: name, Action: action}
}

func l7src(name string, ps ...*api.IntentionPermission) *source {
	return &source{Name: name, Permissions: ps}
}

func perm(action api.IntentionAction, h http7) *api.IntentionPermission {
	return &api.IntentionPermission{Action: action, HTTP: &h}
}

var jwt = &api.IntentionJWTRequirement{Providers: []*api.IntentionJWTProvider{{Name: "okta"}}}

// ask parses a request as a server does. Lines are the request line and headers.
func ask(t testing.TB, lines ...string) intentions.Request {
	t.Helper()
	raw := lines[0] + " HTTP/1.1\r\nHost: hello\r\n" + strings.Join(append(lines[1:], ""), "\r\n") + "\r\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return intentions.Of(r)
}

func TestEvaluate_Unknown(t *testing.T) {
	if ok, why := (*intentions.Table)(nil).Evaluate("web", "hello", intentions.Request{}); ok || why == "" {
		t.Error("no table allows")
	}
	for _, caller := range []string{"", "*"} {
		if ok, _ := table(true, l4src("*", "allow")).Evaluate(caller, "hello", ask(t, "GET /")); ok {
			t.Errorf("caller %q is allowed", caller)
		}
	}
}

func TestEvaluate_Precedence(t *testing.T) {
	allow, deny := api.IntentionActionAllow, api.IntentionActionDeny
	for name, tt := range map[string]struct {
		hello, every []*source
		web          [2]bool // By default: deny, allow.
	}{
		"none":                                {nil, nil, [2]bool{false, true}},
		"exact":                               {[]*source{l4src("web", allow), l4src("*", deny)}, nil, [2]bool{true, true}},
		"exact denied":                        {[]*source{l4src("*", allow), l4src("web", deny)}, nil, [2]bool{false, false}},
		"wildcard":                            {[]*source{l4src("api", deny), l4src("*", allow)}, nil, [2]bool{true, true}},
		"another's":                           {[]*source{l4src("api", allow)}, nil, [2]bool{false, true}},
		"wildcard destination":                {nil, []*source{l4src("web", allow), l4src("*", deny)}, [2]bool{true, true}},
		"both wildcards":                      {nil, []*source{l4src("api", allow), l4src("*", deny)}, [2]bool{false, false}},
		"exact over wildcard destination":     {[]*source{l4src("web", deny)}, []*source{l4src("web", allow)}, [2]bool{false, false}},
		"exact allow over wildcard":           {[]*source{l4src("web", allow)}, []*source{l4src("web", deny), l4src("*", deny)}, [2]bool{true, true}},
		"* to hello over web to *":            {[]*source{l4src("*", deny)}, []*source{l4src("web", allow)}, [2]bool{false, false}},
		"* to hello, and Envoy's web to *":    {[]*source{l4src("*", allow)}, []*source{l4src("web", deny)}, [2]bool{true, false}},
		"web to * over * to *, hello's other": {[]*source{l4src("api", deny)}, []*source{l4src("web", allow), l4src("*", deny)}, [2]bool{true, true}},
		"a peer's":                            {[]*source{{Name: "web", Peer: "east", Action: deny}, {Name: "*", Peer: "east", Action: allow}}, nil, [2]bool{false, true}},
		"a partition's":                       {[]*source{{Name: "web", Partition: "east", Action: allow}}, nil, [2]bool{false, true}},
		"a namespace's":                       {[]*source{{Name: "web", Namespace: "team", Action: deny}}, nil, [2]bool{false, true}},
		"our own namespace's":                 {[]*source{{Name: "web", Namespace: "default", Partition: "default", Action: deny}}, nil, [2]bool{false, false}},
		"a group's allow":                     {[]*source{{Name: "web", SamenessGroup: "g", Action: allow}}, nil, [2]bool{false, true}},
		"a group's deny":                      {[]*source{{Name: "web", SamenessGroup: "g", Action: deny}, l4src("web", allow)}, nil, [2]bool{false, false}},
		"all namespaces' deny":                {[]*source{{Name: "*", Namespace: "*", Action: deny}}, nil, [2]bool{false, false}},
	} {
		for i, defaultAllow := range []bool{false, true} {
			table := intentions.New([]*config{{Name: "hello", Sources: tt.hello}, {Name: "*", Sources: tt.every}, {Name: "other", Sources: []*source{l4src("*", allow)}}}, defaultAllow)
			got, why := table.Evaluate("web", "hello", ask(t, "GET /"))
			if got != tt.web[i] || got == (why != "") {
				t.Errorf("%s, default allow %t: got %t (%s)", name, defaultAllow, got, why)
			}
		}
	}
	foreign := intentions.New([]*config{nil, {Name: "hello", Namespace: "team", Sources: []*source{l4src("*", allow)}}}, false)
	if ok, _ := foreign.Evaluate("web", "hello", ask(t, "GET /")); ok {
		t.Error("an entry of another namespace allows")
	}
}

func TestEvaluate_JWT(t *testing.T) {
	with := perm("allow", http7{PathPrefix: "/"})
	with.JWT = jwt
	perhaps := perm("allow", http7{Header: []header7{{Name: ":scheme", Exact: "https"}}})
	perhaps.JWT = jwt
	for name, e := range map[string]*config{
		"entry":               {Name: "hello", JWT: jwt, Sources: []*source{l4src("web", "allow")}},
		"entry, L7":           {Name: "hello", JWT: jwt, Sources: []*source{l7src("web", perm("deny", http7{PathExact: "/x"}))}},
		"permission, perhaps": {Name: "hello", Sources: []*source{l7src("web", perhaps, perm("allow", http7{PathPrefix: "/"}))}},
		"permission":          {Name: "hello", Sources: []*source{l7src("web", with, perm("allow", http7{PathPrefix: "/"}))}},
	} {
		ok, why := intentions.New([]*config{e}, true).Evaluate("web", "hello", ask(t, "GET /", "Authorization: Bearer x"))
		if ok || !strings.Contains(why, "JWT") {
			t.Errorf("%s: got %t, %q", name, ok, why)
		}
	}
}

// Every rule is evaluated as "allow that, by default deny" and as "deny that, by default
// allow". yes and no are whether it matches; an unknown match is refused both times.
func TestEvaluate_Permissions(t *testing.T) {
	const yes, no, maybe = "yes", "no", "maybe"
	get := func(h ...header7) http7 { return http7{Header: h} }
	for i, tt := range []struct {
		rule http7
		ask  []string
		want string
	}{
		{http7{PathExact: "/a"}, []string{"GET /a?b"}, yes},
		{http7{PathExact: "/a"}, []string{"GET /a/"}, no},
		{http7{PathPrefix: "/a"}, []string{"GET /ab"}, yes},
		{http7{PathPrefix: "/a"}, []string{"GET /b?/a"}, no},
		{http7{PathRegex: "/a|/b"}, []string{"GET /b"}, yes},
		{http7{PathRegex: "/a|/b"}, []string{"GET /bb"}, no},
		{http7{PathRegex: "/a\\C"}, []string{"GET /b"}, maybe},
		{http7{PathRegex: "/a)|(/b"}, []string{"GET /b"}, maybe},
		{http7{PathPrefix: "/a"}, []string{"GET /x/../a"}, maybe},
		{http7{PathPrefix: "/a"}, []string{"GET /%61"}, maybe},
		{http7{PathPrefix: "/a"}, []string{"GET //a"}, maybe},
		{http7{PathPrefix: "/a"}, []string{`GET /\a`}, maybe},
		{http7{PathPrefix: "/a"}, []string{"GET /x%2f..%2fa"}, maybe},
		{http7{PathPrefix: "/a"}, []string{"GET /a/%7e"}, yes},
		{http7{PathPrefix: "/a"}, []string{"GET /b//x"}, no},
		{http7{PathPrefix: "/a"}, []string{"GET /b#/a"}, maybe},
		{http7{PathPrefix: "/"}, []string{"OPTIONS *"}, maybe},
		{http7{PathPrefix: "/"}, []string{"GET http://hello/a"}, yes},
		{http7{Methods: []string{"GET", "PUT"}}, []string{"PUT /"}, yes},
		{http7{Methods: []string{"GET", "PUT"}}, []string{"put /"}, no},
		{get(header7{Name: "X", Present: true}), []string{"GET /", "x:"}, yes},
		{get(header7{Name: "X", Present: true}), []string{"GET /"}, no},
		{get(header7{Name: "X", Present: true, Invert: true}), []string{"GET /"}, yes},
		{get(header7{Name: "X", Present: true, Invert: true}), []string{"GET /", "x:"}, no},
		{get(header7{Name: "X", Exact: "a"}), []string{"GET /", "x: a"}, yes},
		{get(header7{Name: "X", Exact: "a"}), []string{"GET /", "x: A"}, no},
		{get(header7{Name: "X", Exact: "A", IgnoreCase: true}), []string{"GET /", "x: a"}, yes},
		{get(header7{Name: "X", Exact: "k", IgnoreCase: true}), []string{"GET /", "x: \u212a"}, no},
		{get(header7{Name: "X", Exact: "a", Invert: true}), []string{"GET /", "x: b"}, yes},
		{get(header7{Name: "X", Exact: "a", Invert: true}), []string{"GET /"}, no},
		{get(header7{Name: "X", Exact: "a,b"}), []string{"GET /", "x: a", "X: b"}, yes},
		{get(header7{Name: "X", Prefix: "a"}), []string{"GET /", "x: ab"}, yes},
		{get(header7{Name: "X", Suffix: "a"}), []string{"GET /", "x: ab"}, no},
		{get(header7{Name: "X", Contains: "B", IgnoreCase: true}), []string{"GET /", "x: abc"}, yes},
		{get(header7{Name: "X", Regex: "a.c"}), []string{"GET /", "x: abc"}, yes},
		{get(header7{Name: "X", Regex: "a.c", Invert: true}), []string{"GET /", "x: abcd"}, yes},
		{get(header7{Name: "X", Regex: "a.c"}), []string{"GET /", "x: a\xffc"}, maybe},
		{get(header7{Name: "X", Regex: "("}), []string{"GET /", "x: a"}, maybe},
		{get(header7{Name: "X"}), []string{"GET /", "x: a"}, maybe},
		{get(header7{Name: ":authority", Exact: "hello"}), []string{"GET /"}, yes},
		{get(header7{Name: "Host", Exact: "hello"}), []string{"GET /"}, yes},
		{get(header7{Name: ":path", Exact: "/"}), []string{"GET /"}, maybe},
		{get(header7{Name: "X-Forwarded-Proto", Exact: "https"}), []string{"GET /", "X-Forwarded-Proto: https"}, yes},
		{get(header7{Name: "X-Forwarded-Proto", Exact: "https"}), []string{"GET /"}, maybe},
		{get(header7{Name: "X-Forwarded-Client-Cert", Present: true}), []string{"GET /"}, maybe},
		{get(header7{Name: "Cookie", Present: true}), []string{"GET /", "Cookie: a", "Cookie: b"}, maybe},
		{http7{PathPrefix: "/a", Methods: []string{"GET"}, Header: []header7{{Name: "X", Exact: "a"}}}, []string{"GET /a", "X: a"}, yes},
		{http7{PathPrefix: "/a", Methods: []string{"GET"}, Header: []header7{{Name: "X", Exact: "a"}}}, []string{"GET /a", "X: b"}, no},
		{http7{PathPrefix: "/a", Methods: []string{"PUT"}, Header: []header7{{Name: ":path", Exact: "a"}}}, []string{"GET /a"}, no},
	} {
		r := ask(t, tt.ask...)
		allowed, _ := table(false, l7src("web", perm("allow", tt.rule))).Evaluate("web", "hello", r)
		passes, _ := table(true, l7src("web", perm("deny", tt.rule))).Evaluate("web", "hello", r)
		got := map[[2]bool]string{{true, false}: yes, {false, true}: no, {false, false}: maybe}[[2]bool{allowed, passes}]
		if got != tt.want {
			t.Errorf("%d: %+v asked %q: got %q, want %q", i, tt.rule, tt.ask, got, tt.want)
		}
	}
}

func TestEvaluate_FirstPermissionDecides(t *testing.T) {
	ok := table(false, l7src("web", perm("allow", http7{PathExact: "/a/b"}), perm("deny", http7{PathPrefix: "/a"}), perm("allow", http7{PathPrefix: "/"})), l4src("*", "deny"))
	for path, want := range map[string]bool{"/a/b": true, "/a/c": false, "/c": true} {
		if got, _ := ok.Evaluate("web", "hello", ask(t, "GET "+path)); got != want {
			t.Errorf("%s: got %t", path, got)
		}
	}
	// A request that matches no permission falls to the default, not to the wildcard
	// source.
	for _, defaultAllow := range []bool{true, false} {
		fall := table(defaultAllow, l7src("web", perm("allow", http7{Methods: []string{"GET"}})), l4src("*", "deny"))
		if got, _ := fall.Evaluate("web", "hello", ask(t, "PUT /")); got != defaultAllow {
			t.Errorf("default allow %t: got %t", defaultAllow, got)
		}
	}
}

func TestMissing(t *testing.T) {
	act, gw := wadi.ServiceActivator, wadi.ServiceGateway
	both := []string{act, gw}
	someJWT := perm("allow", http7{PathPrefix: "/"})
	someJWT.JWT = jwt
	for name, tt := range map[string]struct {
		table *intentions.Table
		want  []string
	}{
		"nothing known":       {nil, both},
		"default allow":       {intentions.New(nil, true), nil},
		"default deny":        {intentions.New(nil, false), both},
		"denied":              {table(true, l4src("*", "deny")), both},
		"let in":              {table(false, l4src(act, "allow"), l4src(gw, "allow"), l4src("*", "deny")), nil},
		"activator only":      {table(true, l4src(act, "allow"), l4src("*", "deny")), []string{gw}},
		"activator in part":   {table(false, l7src(act, perm("allow", http7{PathPrefix: "/a"})), l4src(gw, "allow")), []string{act}},
		"activator in whole":  {table(false, l7src(act, perm("allow", http7{PathPrefix: "/a"}), perm("allow", http7{PathPrefix: "/"})), l4src(gw, "allow")), nil},
		"a path denied to it": {table(true, l7src(act, perm("deny", http7{PathPrefix: "/a"}))), []string{act}},
		"gateway in part":     {table(false, l4src(act, "allow"), l7src(gw, perm("deny", http7{PathPrefix: "/a"}), perm("allow", http7{Methods: []string{"GET"}}))), nil},
		"gateway denied L7":   {table(true, l4src(act, "allow"), l7src(gw, perm("deny", http7{PathPrefix: "/"}), perm("allow", http7{Methods: []string{"GET"}}))), []string{gw}},
		"by JWT":              {table(true, l7src(act, someJWT), l7src(gw, someJWT)), both},
	} {
		if diff := cmp.Diff(tt.want, tt.table.Missing("hello", true)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if got := intentions.New(nil, false).Missing("hello", false); len(got) != 1 || got[0] != act {
		t.Errorf("a service that isn't public misses %v", got)
	}
}

func TestNames(t *testing.T) {
	tb := intentions.New([]*config{{Name: "hello"}, {Name: "*"}}, true)
	if !tb.Names("hello") || tb.Names("other") || tb.Names("*") || (*intentions.Table)(nil).Names("hello") {
		t.Error("names the wrong ones")
	}
}

func FuzzEvaluate(f *testing.F) {
	f.Add("GET", "/x/%2e./admin//%2f", "X", "a,b", "/admin.*")
	f.Add("OPTIONS", "*", "Cookie", "\xff", "(")
	f.Add("get", `/\..\%5cadmin%`, ":path", "", "[a-z]+")
	f.Fuzz(func(t *testing.T, method, path, name, value, expr string) {
		r := intentions.Request{Method: method, Path: path, Header: http.Header{name: {value, value}}}
		raw, _ := intentions.Normalize(path)
		for _, rule := range []http7{
			{PathPrefix: "/admin"}, {PathExact: "/admin"}, {PathRegex: expr}, {Header: []header7{{Name: name, Regex: expr, Invert: true}}}, {Methods: []string{method}},
		} {
			denied := perm("deny", rule)
			whole, _ := table(true, l7src("web", denied)).Evaluate("web", "hello", r)
			if !whole {
				continue
			}
			// A request must not pass as a form that would be refused when it is written
			// out.
			plain := r
			plain.Path = raw
			if ok, why := table(true, l7src("web", denied)).Evaluate("web", "hello", plain); !ok {
				t.Errorf("%+v: %q passes, but not as %q: %s", rule, path, raw, why)
			}
			if rule.PathPrefix != "" && (strings.HasPrefix(path, "/admin") || strings.HasPrefix(raw, "/admin")) {
				t.Errorf("%q passes", path)
			}
		}
	})
}

// BenchmarkEvaluate measures the cost per request.
func BenchmarkEvaluate(b *testing.B) {
	var entries []*config
	for i := range 500 {
		entries = append(entries, &config{Name: fmt.Sprint("service-", i), Sources: []*source{
			l4src("web", "allow"), l4src("wadi-activator", "allow"), l4src("*", "deny"),
			l7src("api", perm("deny", http7{PathPrefix: "/admin"}), perm("allow", http7{PathRegex: "/v[0-9]+/.*", Methods: []string{"GET", "POST"}})),
		}})
	}
	tb := intentions.New(entries, false)
	r := ask(b, "GET /v1/things/7?x=y", "Accept: */*")
	odd := ask(b, "GET /v1/th%69ngs/../7", "Accept: */*")
	for name, bb := range map[string]struct {
		caller string
		r      intentions.Request
	}{"l4": {"web", r}, "l7": {"api", r}, "l7-odd-path": {"api", odd}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if ok, why := tb.Evaluate(bb.caller, "service-77", bb.r); !ok {
					b.Fatal(why)
				}
			}
		})
	}
}
