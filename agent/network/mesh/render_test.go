package mesh_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network/mesh"
)

// route is one of a service hello with the given legs.
func route(targets ...wadi.RouteTarget) wadi.Route {
	r := wadi.Route{
		Service: "hello", Namespace: "default", Protocol: wadi.HTTP1, Visibility: wadi.Public,
		Mesh: wadi.MeshEnvoy, Targets: targets, Revisions: map[string]wadi.RouteRevision{},
	}
	for _, t := range targets {
		r.Revisions[t.Revision] = wadi.RouteRevision{
			Timeout: wadi.Timeouts{Request: wadi.Duration(5 * time.Minute)},
			Queue:   wadi.Queue{Timeout: wadi.Duration(time.Minute)},
			Mesh:    wadi.MeshEnvoy,
		}
	}
	return r
}

func one(n int) wadi.Route {
	return route(wadi.RouteTarget{Revision: wadi.RevisionID("hello", n), Weight: wadi.WeightAll})
}

// with is a route with a setting changed.
func with(r wadi.Route, change ...func(*wadi.Route)) wadi.Route {
	for _, f := range change {
		f(&r)
	}
	return r
}

func speaks(p wadi.Protocol) func(*wadi.Route) { return func(r *wadi.Route) { r.Protocol = p } }

func burst(r *wadi.Route) { r.ThroughActivator = true }

func sticky(s wadi.Sticky) func(*wadi.Route) { return func(r *wadi.Route) { r.Sticky = &s } }

func meshOnly(r *wadi.Route) { r.Visibility = wadi.MeshOnly }

func allow(names ...string) func(*wadi.Route) {
	return func(r *wadi.Route) { r.Intentions = &wadi.Intentions{Allow: names} }
}

// tags has two tags on one revision, and one whose revision gets no other traffic
// and takes longer than the rest.
func tags() wadi.Route {
	r := route(
		wadi.RouteTarget{Revision: "hello-00001", Weight: 3333},
		wadi.RouteTarget{Revision: "hello-00002", Weight: 6567},
		wadi.RouteTarget{Revision: "hello-00001", Weight: 100, Tag: "old"},
		wadi.RouteTarget{Revision: "hello-00001", Weight: 0, Tag: "older"},
		wadi.RouteTarget{Revision: "hello-00003", Weight: 0, Tag: "next"},
	)
	rev := r.Revisions["hello-00003"]
	rev.Timeout.Request = wadi.Duration(time.Hour)
	r.Revisions["hello-00003"] = rev
	return r
}

// rules has one of each kind, and one whose revision gets no other traffic.
func rules(r *wadi.Route) {
	r.Revisions["hello-00004"] = wadi.RouteRevision{
		Timeout: wadi.Timeouts{Request: wadi.Duration(2 * time.Hour)}, Queue: wadi.Queue{Timeout: wadi.Duration(time.Minute)}, Mesh: wadi.MeshEnvoy,
	}
	r.Rules = []wadi.RouteRule{
		{Name: "v2", Match: wadi.RuleMatch{PathPrefix: "/v2", Methods: []string{"GET", "HEAD"}}, Revision: "hello-00004", PrefixRewrite: "/"},
		{Name: "beta", Match: wadi.RuleMatch{
			Headers: []wadi.FieldMatch{{Name: "X-Beta", Exact: "1"}, {Name: "X-Team", Prefix: "a"}, {Name: "X-Mail", Suffix: "@b"}, {Name: "X-Any", Present: true}},
			Query:   []wadi.FieldMatch{{Name: "q", Exact: "1"}, {Name: "debug", Present: true}},
		}, Revision: "hello-00001"},
		{Name: "bills", Match: wadi.RuleMatch{PathPrefix: "/bills/"}, Service: "billing", PrefixRewrite: "/"},
		{Name: "old", Match: wadi.RuleMatch{PathPrefix: "/old"}, Redirect: &wadi.Redirect{Code: 308}, PrefixRewrite: "/new"},
		{Name: "short", Match: wadi.RuleMatch{Path: "/s"}, PrefixRewrite: "/search"},
	}
}

// shapes are all kinds of routes that a service may have, one after the other.
func shapes() map[string]wadi.Route {
	split := route(
		wadi.RouteTarget{Revision: "hello-00001", Weight: 3333},
		wadi.RouteTarget{Revision: "hello-00002", Weight: 6667},
	)
	mixed := one(2)
	mixed.Mesh = wadi.MeshOff
	off := one(1)
	off.Mesh = wadi.MeshOff
	off.Revisions["hello-00001"] = wadi.RouteRevision{Mesh: wadi.MeshOff}
	return map[string]wadi.Route{
		"one":                one(1),
		"split":              split,
		"tags":               tags(),
		"other-tags":         route(wadi.RouteTarget{Revision: "hello-00002", Weight: wadi.WeightAll, Tag: "old"}),
		"rules":              with(oneTagged("next"), rules),
		"burst-rules":        with(one(1), rules, burst),
		"sticky-rules":       with(split, rules, func(r *wadi.Route) { r.Sticky = &wadi.Sticky{Header: "X-User"} }),
		"burst":              with(split, burst),
		"sticky":             with(tags(), sticky(wadi.Sticky{Header: "X-User-ID", Cookie: "b"})),
		"sticky-one":         with(one(1), sticky(wadi.Sticky{Header: "X-User-ID"})),
		"sticky-cookie":      with(split, sticky(wadi.Sticky{Cookie: "b"})),
		"burst-tags":         with(tags(), burst),
		"intentions":         with(one(1), allow("web", "billing", "web", wadi.ServiceActivator)),
		"intentions-of-mesh": with(tags(), meshOnly, allow("web")),
		"intentions-nobody":  with(one(2), meshOnly, allow()),
		"intentions-all":     with(one(3), allow("web", "*")),
		"leaving-the-mesh":   mixed,
		"off":                off,
		"deleted":            route(),
		"deleted-intentions": with(route(), allow("web")),
	}
}

func TestRender(t *testing.T) {
	all := shapes()
	all["h2c"] = with(one(1), speaks(wadi.H2C))
	all["grpc"] = with(one(1), speaks(wadi.GRPC))
	all["grpc-sticky"] = with(all["split"], speaks(wadi.GRPC), sticky(wadi.Sticky{Header: "user"}))
	all["grpc-burst-tags"] = with(all["other-tags"], speaks(wadi.GRPC), burst)
	for name, r := range all {
		t.Run(name, func(t *testing.T) {
			got, err := json.MarshalIndent(mesh.Render(r), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", name+".json"), string(got)+"\n")
		})
	}
}

func TestRenderActivator(t *testing.T) {
	var got []any
	for _, p := range []wadi.Protocol{wadi.HTTP1, wadi.H2C, wadi.GRPC} {
		got = append(got, mesh.RenderActivator(p))
	}
	b, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("testdata", "activators.json"), string(b)+"\n")
}

var update = flag.Bool("update", false, "rewrite golden files")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Fatalf("differs from %s (-want +got):\n%s", file, d)
	}
}
