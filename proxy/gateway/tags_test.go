package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/gateway"
)

func tagged() wadi.Route {
	r := route("hello",
		wadi.RouteTarget{Revision: "hello-00003", Weight: 10000},
		wadi.RouteTarget{Revision: "hello-00002", Weight: 0, Tag: "canary"},
		wadi.RouteTarget{Revision: "hello-00001", Weight: 0, Tag: "old"})
	r.Domains = []string{"hello.example.com"}
	return r
}

func TestTags(t *testing.T) {
	secret := route("secret", wadi.RouteTarget{Revision: "secret-00001", Weight: 10000, Tag: "canary"})
	secret.Visibility = wadi.MeshOnly
	g, c := newGateway(t, map[string]wadi.Route{"hello": tagged(), "secret": secret})
	for _, tt := range []struct {
		host string
		tag  []string
		want string
	}{
		{"hello.wadi.localhost", nil, "hello hello-00003"},
		{"hello.wadi.localhost", []string{"canary"}, "hello hello-00002"},
		{"hello.wadi.localhost", []string{"old"}, "hello hello-00001"},
		{"hello.example.com", []string{"canary"}, "hello hello-00002"},
		{"Canary-Hello.wadi.localhost:8080", nil, "hello hello-00002"},
		{"old-hello.wadi.localhost.", nil, "hello hello-00001"},
		// A tag's own name leads to the tag, as in the mesh.
		{"old-hello.wadi.localhost", []string{"canary"}, "hello hello-00001"},
		// An unknown tag is ignored, as in the mesh.
		{"hello.wadi.localhost", []string{"nosuch"}, "hello hello-00003"},
		{"hello.wadi.localhost", []string{""}, "hello hello-00003"},
		{"hello.wadi.localhost", []string{"Canary"}, "hello hello-00003"},
		{"hello.wadi.localhost", []string{"canary", "canary"}, "hello hello-00003"},
		{"hello.wadi.localhost", []string{"canary, old"}, "hello hello-00003"},
		{"hello.wadi.localhost", []string{"hello-00001"}, "hello hello-00003"},
		{"nosuch-hello.wadi.localhost", nil, ""},
		{"canary-hello.example.com", nil, ""},
		{"canary-secret.wadi.localhost", nil, ""},
		{"secret.wadi.localhost", []string{"canary"}, ""},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = tt.host
		r.Header[wadi.HeaderTag] = tt.tag
		c.last = nil
		g.ServeHTTP(w, r)
		switch {
		case tt.want == "" && w.Code != http.StatusNotFound:
			t.Errorf("%s, tag %q: got %d %q, want 404", tt.host, tt.tag, w.Code, w.Body)
		case tt.want != "" && w.Body.String() != tt.want:
			t.Errorf("%s, tag %q: got %d %q, want %q", tt.host, tt.tag, w.Code, w.Body, tt.want)
		case tt.want != "" && !cmp.Equal(c.last[wadi.HeaderTag], tt.tag):
			t.Errorf("%s: the app gets tag %q, want the caller's own %q", tt.host, c.last[wadi.HeaderTag], tt.tag)
		}
	}
}

// A service that is being deleted has no targets, and so no tags.
func TestTags_Gone(t *testing.T) {
	g, _ := newGateway(t, map[string]wadi.Route{"hello": tagged()})
	gone := tagged()
	gone.Targets = nil
	g.SetRoutes(map[string]wadi.Route{"hello": gone})
	for host, want := range map[string]int{"hello.wadi.localhost": 404, "canary-hello.wadi.localhost": 404} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		r.Header.Set(wadi.HeaderTag, "canary")
		if g.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%s: got %d, want %d", host, w.Code, want)
		}
	}
}

// Admission refuses such names; of two submissions at once both may have passed.
func TestTags_Conflicts(t *testing.T) {
	shop := route("old-hello", wadi.RouteTarget{Revision: "old-hello-00001", Weight: 10000})
	other := route("zoo", wadi.RouteTarget{Revision: "zoo-00001", Weight: 10000})
	other.Domains = []string{"canary-hello.d"}
	table, got := gateway.BuildTable(map[string]wadi.Route{"hello": tagged(), "old-hello": shop, "zoo": other}, "d")
	want := []gateway.Conflict{
		{Host: "old-hello.d", Service: "hello", Holder: "old-hello"},
		{Host: "canary-hello.d", Service: "zoo", Holder: "hello"},
	}
	if diff := cmp.Diff(want, got); diff != "" || table == nil {
		t.Error(diff)
	}
}
