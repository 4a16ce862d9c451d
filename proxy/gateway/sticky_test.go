package gateway_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/gateway"
)

// canary is a route whose newest revision, the second, has some of the traffic.
func canary(weight int, s wadi.Sticky) wadi.Route {
	r := route("hello",
		wadi.RouteTarget{Revision: "hello-00001", Weight: wadi.WeightAll - weight},
		wadi.RouteTarget{Revision: "hello-00002", Weight: weight, Tag: "canary"})
	r.Sticky = &s
	return r
}

// visit sends a request with these header fields, and returns the revision that answered and
// the answer's header.
func visit(t *testing.T, g *gateway.Gateway, fields ...string) (revision string, answer http.Header) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "http://hello.wadi.localhost/", nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	if g.ServeHTTP(w, r); w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	_, revision, _ = strings.Cut(w.Body.String(), " ")
	return revision, w.Header()
}

func TestSticky_Cookie(t *testing.T) {
	g, c := newGateway(t, map[string]wadi.Route{"hello": canary(5000, wadi.Sticky{Cookie: "wadi-hello", TTL: wadi.Duration(24 * 3600e9)})})
	first, answer := visit(t, g)
	cookies, err := http.ParseSetCookie(answer.Get("Set-Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "wadi-hello=" + cookies.Value + "; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"; answer.Get("Set-Cookie") != want {
		t.Errorf("got the cookie %q, want %q", answer.Get("Set-Cookie"), want)
	}
	if got := answer.Get("Cache-Control"); got != `private="Set-Cookie"` {
		t.Errorf("a shared cache may keep the cookie: %q", got)
	}
	sent := "a=b; wadi-hello=" + cookies.Value + "; c=d"
	for range 20 {
		revision, answer := visit(t, g, "Cookie", sent)
		if revision != first || answer["Set-Cookie"] != nil || answer["Cache-Control"] != nil {
			t.Fatalf("got %s and %v, want %s as before and nothing else", revision, answer, first)
		}
	}
	if got := c.last.Get("Cookie"); got != sent {
		t.Errorf("the app got the cookies %q, want %q", got, sent)
	}
	// The bucket decides, and the newest revision has the lowest ones.
	for bucket, want := range map[int]string{0: "hello-00002", 4999: "hello-00002", 5000: "hello-00001", 9999: "hello-00001"} {
		if got, _ := visit(t, g, "Cookie", fmt.Sprintf("wadi-hello=%d", bucket)); got != want {
			t.Errorf("bucket %d: got %s, want %s", bucket, got, want)
		}
	}
}

// What is no bucket of this service, once, counts as none: a new one is drawn.
func TestSticky_BadCookies(t *testing.T) {
	g, _ := newGateway(t, map[string]wadi.Route{"hello": canary(1, wadi.Sticky{Cookie: "b"})})
	for _, bad := range [][]string{
		{"b="}, {"b"}, {"b=-1"}, {"b=+1"}, {"b=00"}, {"b=01"}, {"b=10000"}, {"b=1e3"}, {"b= 1 2"}, {`b="1"`}, {"b=hello-00002"}, {"b=½"},
		{"b=1; b=1"}, {"b=1; b=2"}, {"b=1", "b=1"}, {"b=1; b=x"}, {"b=x; b=1"}, {"B=1"}, {"bb=1"}, {"xb=1"}, {";;;"}, {"=1"}, {"b=1,b=2"},
		{strings.Repeat("b=1;", 10_000)}, {strings.Repeat(";", 60_000)}, {"b=" + strings.Repeat("1", 60_000)}, {"b=99999999999999999999999"},
	} {
		var fields []string
		for _, line := range bad {
			fields = append(fields, "Cookie", line)
		}
		if _, answer := visit(t, g, fields...); answer["Set-Cookie"] == nil {
			t.Errorf("%.40q is taken for a bucket", bad)
		}
	}
	for _, good := range []string{"b=0", "b=9999", " b=1 ", "a;b=7", "b=7;"} {
		if _, answer := visit(t, g, "Cookie", good); answer["Set-Cookie"] != nil {
			t.Errorf("%q is not taken for a bucket", good)
		}
	}
	if _, answer := visit(t, g); !strings.HasSuffix(answer.Get("Set-Cookie"), "; Path=/; HttpOnly; SameSite=Lax") {
		t.Errorf("not for the browser's session: %q", answer.Get("Set-Cookie"))
	}
}

// A tag comes first, then the header, then the cookie. Where no bucket decides none is given.
func TestSticky_Precedence(t *testing.T) {
	g, _ := newGateway(t, map[string]wadi.Route{"hello": canary(5000, wadi.Sticky{Cookie: "b", Header: "x-user-id"})})
	old, fresh := "", "" // Users of the two revisions.
	for i := 0; old == "" || fresh == ""; i++ {
		user := fmt.Sprint("user-", i)
		if b, _ := wadi.BucketOf("hello", []string{user}); b < 5000 {
			fresh = user
		} else {
			old = user
		}
	}
	for _, tt := range []struct {
		what   string
		fields []string
		want   string
		given  bool
	}{
		{"the tag", []string{wadi.HeaderTag, "canary", "X-User-Id", old, "Cookie", "b=9999"}, "hello-00002", false},
		{"a tag without a cookie", []string{wadi.HeaderTag, "canary"}, "hello-00002", false},
		{"an unknown tag", []string{wadi.HeaderTag, "x", "X-User-Id", old}, "hello-00001", false},
		{"the header", []string{"X-User-Id", old, "Cookie", "b=0"}, "hello-00001", false},
		{"the other header", []string{"X-User-Id", fresh, "Cookie", "b=9999"}, "hello-00002", false},
		{"the cookie", []string{"Cookie", "b=0"}, "hello-00002", false},
		{"an empty header", []string{"X-User-Id", "", "Cookie", "b=0"}, "hello-00002", false},
		{"two headers", []string{"X-User-Id", old, "X-User-Id", old, "Cookie", "b=0"}, "hello-00002", false},
		{"a huge header", []string{"X-User-Id", strings.Repeat("x", 257), "Cookie", "b=9999"}, "hello-00001", false},
		{"a bad header alone", []string{"X-User-Id", ""}, "", true},
	} {
		got, answer := visit(t, g, tt.fields...)
		if tt.want != "" && got != tt.want || (answer["Set-Cookie"] != nil) != tt.given {
			t.Errorf("%s: got %s and %q, want %s", tt.what, got, answer["Set-Cookie"], tt.want)
		}
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "http://canary-hello.wadi.localhost/", nil)
	r.Header.Set("Cookie", "b=9999")
	if g.ServeHTTP(w, r); w.Body.String() != "hello hello-00002" || w.Header()["Set-Cookie"] != nil {
		t.Errorf("a tag's own name: %q %v", w.Body, w.Header())
	}
}

// With a header alone, a caller without it is split request by request, and gets no cookie.
func TestSticky_HeaderAlone(t *testing.T) {
	g, c := newGateway(t, map[string]wadi.Route{"hello": canary(5000, wadi.Sticky{Header: "X-User-ID"})})
	for range 200 {
		if _, answer := visit(t, g, "Cookie", "b=1"); answer["Set-Cookie"] != nil {
			t.Fatalf("got %v", answer)
		}
	}
	if c.asked["hello-00001"] == 0 || c.asked["hello-00002"] == 0 {
		t.Errorf("got %v", c.asked)
	}
}

// Where one revision has all the traffic there is nothing to keep.
func TestSticky_WithoutSplit(t *testing.T) {
	one := canary(0, wadi.Sticky{Cookie: "b", Header: "X-User-ID"})
	same := canary(5000, wadi.Sticky{Cookie: "b"})
	same.Targets[1].Revision = "hello-00001"
	for name, r := range map[string]wadi.Route{"no share": one, "one revision twice": same} {
		g, _ := newGateway(t, map[string]wadi.Route{"hello": r})
		if got, answer := visit(t, g, "Cookie", "b=0"); got != "hello-00001" || answer["Set-Cookie"] != nil {
			t.Errorf("%s: got %s %v", name, got, answer)
		}
	}
}

func TestSticky_SecureOverTLS(t *testing.T) {
	routes := map[string]wadi.Route{"hello": canary(5000, wadi.Sticky{Cookie: "b"})}
	for _, tt := range []struct {
		name    string
		trusted []string
		proto   string
		tls     bool
		want    bool
	}{
		{"plain", nil, "", false, false},
		{"TLS", nil, "", true, true},
		{"a trusted proxy's TLS", []string{"192.0.2.0/24"}, "https", false, true},
		{"a trusted proxy's plain HTTP", []string{"192.0.2.0/24"}, "http", false, false},
		{"a caller's claim", nil, "https", false, false},
	} {
		g, _ := newGateway(t, routes, tt.trusted...)
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "http://hello.wadi.localhost/", nil)
		if tt.proto != "" {
			r.Header.Set("X-Forwarded-Proto", tt.proto)
		}
		if tt.tls {
			r.TLS = &tls.ConnectionState{}
		}
		g.ServeHTTP(w, r)
		if got := strings.Contains(w.Header().Get("Set-Cookie"), "; Secure"); got != tt.want {
			t.Errorf("%s: %q", tt.name, w.Header().Get("Set-Cookie"))
		}
	}
}

// While the share of the new revision grows, no user goes back to the old one, and each is
// asked to keep a cookie once at most.
func TestSticky_UsersMoveOnceWhileTheShareGrows(t *testing.T) {
	const users = 300
	g, _ := newGateway(t, map[string]wadi.Route{"hello": canary(0, wadi.Sticky{Cookie: "b"})})
	cookies := make([]string, users)
	at := make([]string, users)
	for _, weight := range []int{1, 100, 1000, 3000, 5000, 9000, 9999, 10000} {
		g.SetRoutes(map[string]wadi.Route{"hello": canary(weight, wadi.Sticky{Cookie: "b"})})
		fresh := 0
		for i := range users {
			revision, answer := visit(t, g, "Cookie", cookies[i])
			if given := answer.Get("Set-Cookie"); given != "" {
				if cookies[i] != "" {
					t.Fatalf("user %d with %s gets another cookie: %s", i, cookies[i], given)
				}
				cookies[i], _, _ = strings.Cut(given, ";")
			}
			if revision < at[i] {
				t.Fatalf("at %d, user %d with %s goes from %s back to %s", weight, i, cookies[i], at[i], revision)
			}
			if at[i] = revision; revision == "hello-00002" {
				fresh++
			}
		}
		if weight == 5000 && (fresh < users/3 || fresh > users*2/3) || weight == 10000 && fresh != users {
			t.Errorf("at %d, %d of %d users are on the new revision", weight, fresh, users)
		}
	}
}

// The gateway is by a route in force only if it keeps users as the route says.
func TestServes_Sticky(t *testing.T) {
	g, _ := newGateway(t, map[string]wadi.Route{"hello": canary(5000, wadi.Sticky{Cookie: "b"})})
	plain := canary(5000, wadi.Sticky{})
	plain.Sticky = nil
	for name, tt := range map[string]struct {
		route wadi.Route
		want  bool
	}{
		"the same":   {canary(5000, wadi.Sticky{Cookie: "b"}), true},
		"another":    {canary(5000, wadi.Sticky{Cookie: "c"}), false},
		"a header":   {canary(5000, wadi.Sticky{Cookie: "b", Header: "X"}), false},
		"none":       {plain, false},
		"its shares": {canary(5001, wadi.Sticky{Cookie: "b"}), false},
	} {
		if got, why := g.Serves(tt.route); got != tt.want {
			t.Errorf("%s: got %v %q", name, got, why)
		}
	}
}

// Requests of callers that are known cost no allocation more.
func TestSticky_Allocations(t *testing.T) {
	measure := func(r wadi.Route, fields ...string) float64 {
		g, c := newGateway(t, map[string]wadi.Route{"hello": r})
		c.serve = func(http.ResponseWriter, *http.Request) {}
		in := httptest.NewRequest(http.MethodGet, "http://hello.wadi.localhost/", nil)
		for i := 0; i < len(fields); i += 2 {
			in.Header.Add(fields[i], fields[i+1])
		}
		w := httptest.NewRecorder()
		return testing.AllocsPerRun(200, func() {
			in.Header.Del("X-Forwarded-For")
			g.ServeHTTP(w, in)
		})
	}
	plain := canary(5000, wadi.Sticky{})
	plain.Sticky = nil
	fields := []string{"Cookie", "a=b; b=1; c=d", "X-User-Id", "alice"}
	want := measure(plain, fields...)
	for name, s := range map[string]wadi.Sticky{"cookie": {Cookie: "b"}, "header": {Header: "X-User-ID"}} {
		if got := measure(canary(5000, s), fields...); !cmp.Equal(got, want) {
			t.Errorf("%s: %v allocations, want %v", name, got, want)
		}
	}
}
