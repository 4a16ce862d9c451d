package rules_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/rules"
)

func request(t *testing.T, line string, header ...string) *http.Request {
	t.Helper()
	raw := line + " HTTP/1.1\r\nHost: hello.example\r\n"
	for _, h := range header {
		raw += h + "\r\n"
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw + "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func rule(name string, m wadi.RuleMatch) wadi.RouteRule { return wadi.RouteRule{Name: name, Match: m} }

func TestFind(t *testing.T) {
	s := rules.Of([]wadi.RouteRule{
		rule("exact", wadi.RuleMatch{Path: "/v1/one"}),
		rule("below", wadi.RuleMatch{PathPrefix: "/below/"}),
		rule("prefix", wadi.RuleMatch{PathPrefix: "/v2", Methods: []string{"GET", "POST"}}),
		rule("second", wadi.RuleMatch{PathPrefix: "/v2"}),
		rule("header", wadi.RuleMatch{Headers: []wadi.FieldMatch{{Name: "x-beta", Exact: "1"}, {Name: "x-any", Present: true}}}),
		rule("parts", wadi.RuleMatch{Headers: []wadi.FieldMatch{{Name: "X-Part", Prefix: "a"}, {Name: "X-Part", Suffix: "z"}}}),
		rule("query", wadi.RuleMatch{Query: []wadi.FieldMatch{{Name: "q", Exact: "1"}}}),
		rule("there", wadi.RuleMatch{Query: []wadi.FieldMatch{{Name: "debug", Present: true}}}),
	})
	for _, tt := range []struct {
		line, want string
		header     []string
	}{
		{line: "GET /v1/one", want: "exact"},
		{line: "GET /v1/one?x=1", want: "exact"},
		{line: "GET http://other.example/v1/one?x", want: "exact"},
		{line: "GET /v1/one/", want: ""},
		{line: "GET /V1/one", want: ""},
		{line: "GET /v1/%6fne", want: ""},
		{line: "GET /v1/./one", want: ""},
		{line: "GET /below", want: ""},
		{line: "GET /below/", want: "below"},
		{line: "GET /below/%2e%2e/x", want: "below"},
		{line: "GET //below/", want: ""},
		{line: "GET /v2", want: "prefix"},
		{line: "POST /v2/", want: "prefix"},
		{line: "PUT /v2/x", want: "second"},
		{line: "get /v2/x", want: "second"},
		{line: "GET /v20", want: ""},
		{line: "GET /v2%2fx", want: ""},
		{line: "GET /v2/../x", want: "prefix"},
		{line: "OPTIONS *", header: []string{"X-Beta: 1", "X-Any:"}, want: ""},
		{line: "GET /", header: []string{"X-Beta: 1", "X-Any:"}, want: "header"},
		{line: "GET /", header: []string{"X-Beta: 1"}, want: ""},
		{line: "GET /", header: []string{"X-Beta: 1", "X-Beta: 1", "X-Any: 2"}, want: ""},
		{line: "GET /", header: []string{"X-Part: a", "X-Part: z"}, want: "parts"},
		{line: "GET /", header: []string{"X-Part: z", "X-Part: a"}, want: ""},
		{line: "GET /?q=1", want: "query"},
		{line: "GET /?a=2&q=1&q=2", want: "query"},
		{line: "GET /?q=2&q=1", want: ""},
		{line: "GET /?q=%31", want: ""},
		{line: "GET /?Q=1", want: ""},
		{line: "GET /?q=1?", want: ""},
		{line: "GET /?debug", want: "there"},
		{line: "GET /?debug=&q=1", want: "query"},
		{line: "GET /?&&=&debug=x=y", want: "there"},
		{line: "GET /?nodebug", want: ""},
		{line: "GET /debug", want: ""},
	} {
		got := ""
		if r := s.Find(request(t, tt.line, tt.header...)); r != nil {
			got = r.Name
		}
		if got != tt.want {
			t.Errorf("%s %v: got rule %q, want %q", tt.line, tt.header, got, tt.want)
		}
	}
}

func TestRewrite(t *testing.T) {
	for _, tt := range []struct {
		match, rewrite, in, want string
	}{
		{"/v2", "/", "/v2", "/"},
		{"/v2", "/", "/v2?a=%20b", "/?a=%20b"},
		{"/v2", "/", "/v2/", "/"},
		{"/v2", "/", "/v2/x/", "/x/"},
		{"/v2", "/", "/v2//x", "//x"},
		{"/v2", "/api/", "/v2/x", "/api/x"},
		{"/v2", "/api", "/v2/x%2Fy?", "/api/x%2Fy?"},
		{"/v2", "/api", "/v2/../x", "/api/../x"},
		{"/v2/", "/", "/v2/x", "/x"},
		{"/v2/", "/a/", "/v2/", "/a/"},
		{"/", "/api/", "/x", "/api/x"},
		{"/v2", "", "/v2/x", "/v2/x"},
		{"/v2", "/", "http://h/v2/x?q", "/x?q"},
		{"=/one", "/two", "/one?q=1", "/two?q=1"},
	} {
		rule := wadi.RouteRule{Match: wadi.RuleMatch{PathPrefix: tt.match}, PrefixRewrite: tt.rewrite}
		if exact, ok := strings.CutPrefix(tt.match, "="); ok {
			rule.Match = wadi.RuleMatch{Path: exact}
		}
		r := request(t, "GET "+tt.in)
		if err := rules.Rewrite(r, &rule); err != nil {
			t.Errorf("%s: %v", tt.in, err)
		}
		path, _, _ := strings.Cut(tt.want, "?")
		was := strings.TrimPrefix(tt.in, "http://h")
		if tt.rewrite == "" {
			was = ""
		}
		if r.RequestURI != tt.want || r.URL.EscapedPath() != path || r.Header.Get(rules.HeaderOriginalPath) != was {
			t.Errorf("%s by %s to %s: got %s (path %s, from %q), want %s", tt.in, tt.match, tt.rewrite, r.RequestURI, r.URL.EscapedPath(), r.Header.Get(rules.HeaderOriginalPath), tt.want)
		}
	}
}

// Whatever a caller sends, a redirect stays on the host that the rule says, or on its own.
func TestLocation(t *testing.T) {
	for _, tt := range []struct {
		match, rewrite string
		to             wadi.Redirect
		in, want       string
	}{
		{"/old", "/new", wadi.Redirect{}, "/old/x?q=1", "/new/x?q=1"},
		{"/old", "/", wadi.Redirect{}, "/old//evil.example", "/evil.example"},
		{"/old/", "/", wadi.Redirect{}, "/old//evil.example", "/evil.example"},
		{"/old/", "/", wadi.Redirect{}, `/old/\evil.example/\`, "/evil.example/%5C"},
		{"/old/", "/", wadi.Redirect{}, `/old/\/\evil.example`, "/evil.example"},
		{"/old/", "/", wadi.Redirect{}, "/old/%2fevil.example", "/%2fevil.example"},
		{"/old/", "/", wadi.Redirect{}, "/old/%0d%0aSet-Cookie:x", "/%0d%0aSet-Cookie:x"},
		{"/old/", "/", wadi.Redirect{}, "/old/\"<é>", "/%22%3C%C3%A9%3E"},
		{"/", "", wadi.Redirect{Host: "new.example"}, "//evil.example/x", "https://new.example/evil.example/x"},
		{"/", "", wadi.Redirect{Host: "new.example", Scheme: "http"}, "/@evil.example", "http://new.example/@evil.example"},
		{"/", "", wadi.Redirect{Path: "/gone"}, "/x?q=1", "/gone?q=1"},
		{"/", "", wadi.Redirect{Path: "/gone?why=1"}, "/x?q=1", "/gone?why=1"},
	} {
		rule := wadi.RouteRule{Match: wadi.RuleMatch{PathPrefix: tt.match}, PrefixRewrite: tt.rewrite, Redirect: &tt.to}
		if got := rules.Location(request(t, "GET "+tt.in), &rule); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.in, got, tt.want)
		}
	}
}

func FuzzLocation(f *testing.F) {
	f.Add("/old//evil.example", "q=\\")
	f.Fuzz(func(t *testing.T, path, query string) {
		for _, prefix := range []string{"/", "/old", "/old/"} {
			rule := wadi.RouteRule{Match: wadi.RuleMatch{PathPrefix: prefix}, PrefixRewrite: "/", Redirect: &wadi.Redirect{}}
			got := rule.Location(path, query)
			if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.ContainsAny(got, "\\\r\n\t\x00 ") {
				t.Errorf("%q?%q leads to %q", path, query, got)
			}
		}
	})
}

// A service without rules pays nothing, and one with the most rules no memory.
func BenchmarkFind(b *testing.B) {
	var many []wadi.RouteRule
	for range 32 {
		many = append(many, wadi.RouteRule{Match: wadi.RuleMatch{PathPrefix: "/hello/nothing", Headers: []wadi.FieldMatch{{Name: "X-Beta", Exact: "1"}}}})
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET /hello/world?a=1&b=2 HTTP/1.1\r\nHost: h\r\n\r\n")))
	if err != nil {
		b.Fatal(err)
	}
	for name, s := range map[string]rules.Set{"none": {}, "32": rules.Of(many)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if s.Find(r) != nil {
					b.Fatal("met")
				}
			}
		})
	}
}
