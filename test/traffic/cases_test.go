//go:build e2e

package traffic_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Revisions of the table, and the other service's.
const (
	main1, canary2, ruled3 = "cases-00001", "cases-00002", "cases-00003"
	till1                  = "till-00001"
)

// casesRoutes are the routes of the table, in their order.
const casesRoutes = `
  route "exact" {
    match {
      path = "/exact"
    }
    revision = "cases-00003"
  }
  route "v2" {
    match {
      path_prefix = "/v2"
    }
    revision       = "cases-00003"
    prefix_rewrite = "/"
  }
  route "odd" {
    match {
      path_prefix = "/a+(b"
    }
    revision       = "cases-00003"
    prefix_rewrite = "/"
  }
  route "below" {
    match {
      path_prefix = "/below/"
    }
    tag            = "canary"
    prefix_rewrite = "/b/"
  }
  route "posts" {
    match {
      path_prefix = "/m"
      methods     = ["POST", "PUT"]
    }
    revision = "cases-00003"
  }
  route "fields" {
    match {
      header "X-Beta" {
        exact = "1"
      }
      query "q" {
        exact = "1"
      }
    }
    revision = "cases-00003"
  }
  route "parts" {
    match {
      header "X-Part" {
        prefix = "ab"
      }
    }
    tag = "canary"
  }
  route "debug" {
    match {
      query "debug" {
        present = true
      }
    }
    tag = "canary"
  }
  route "short" {
    match {
      path = "/short"
    }
    prefix_rewrite = "/long"
  }
  route "bills" {
    match {
      path_prefix = "/bills"
    }
    service        = "till"
    prefix_rewrite = "/open"
  }
  route "safe" {
    match {
      path_prefix = "/safe"
    }
    service = "till"
  }
  route "old" {
    match {
      path_prefix = "/old"
    }
    prefix_rewrite = "/new"
    redirect {
      code = 301
    }
  }
  route "away" {
    match {
      path = "/away"
    }
    redirect {
      host = "example.com"
      path = "/there"
    }
  }
`

// oneCase is a request, and what becomes of it by each way.
type oneCase struct {
	target string // As it is sent: neither decoded nor cleaned.
	method string // Empty: GET.
	header http.Header
	name   string // Of the service, or of the tag; empty: the service's.

	revision string // That answers; empty: status says why none does.
	path     string // And query, as the app gets it; empty: as it was sent.
	status   int    // 0: 200.
	location string
}

func field(name string, values ...string) http.Header { return http.Header{name: values} }

// cases are what both layers must do alike.
var cases = []oneCase{
	{target: "/", revision: main1},
	{target: "/a%2Fb/x%20y?q=%31", revision: main1},

	// Tags come first: by a name, and by a header. One that is unknown, or two, count as none.
	{target: "/v2/x", name: "canary-cases", revision: canary2},
	{target: "/v2/x", header: field(wadi.HeaderTag, "canary"), revision: canary2},
	{target: "/old/x", header: field(wadi.HeaderTag, "canary"), revision: canary2},
	{target: "/x", header: field(wadi.HeaderTag, "nosuch"), revision: main1},
	{target: "/v2/x", header: field(wadi.HeaderTag, "nosuch"), revision: ruled3, path: "/x"},
	{target: "/x", header: field(wadi.HeaderTag, "Canary"), revision: main1},
	{target: "/x", header: field(wadi.HeaderTag, "canary", "canary"), revision: main1},

	// Paths, byte by byte.
	{target: "/exact", revision: ruled3},
	{target: "/exact?x=/v2", revision: ruled3},
	{target: "/exact/", revision: main1},
	{target: "/Exact", revision: main1},
	{target: "/%65xact", revision: main1, path: "/exact"}, // The instance's Envoy decodes what needs no escape.
	{target: "/v2", revision: ruled3, path: "/"},
	{target: "/v2/", revision: ruled3, path: "/"},
	{target: "/v2/x/?a=1&a=2", revision: ruled3, path: "/x/?a=1&a=2"},
	{target: "/v2//x", status: http.StatusTemporaryRedirect, location: "/x"}, // By the app, which gets "//x".
	{target: "/v2/a%2Fb", revision: ruled3, path: "/a%2Fb"},
	{target: "/v2/a%20b", revision: ruled3, path: "/a%20b"},
	{target: "/a+(b/x", revision: ruled3, path: "/x"},
	{target: "/aa(b/x", revision: main1},
	{target: "/v20", revision: main1},
	{target: "/V2/x", revision: main1},
	{target: "/%76%32/x", revision: main1, path: "/v2/x"},
	{target: "/v2%2Fx", revision: main1},
	{target: "/below", revision: main1},
	{target: "/below/", revision: canary2, path: "/b/"},
	{target: "/below/x", revision: canary2, path: "/b/x"},
	{target: "/short?a", revision: main1, path: "/long?a"},

	// Dot segments: the rule is found by what was sent.
	{target: "/v2/a/../b", revision: ruled3, path: "/b"},
	{target: "/x/../v2/a", revision: main1, path: "/v2/a"},
	{target: "/v2/../exact", revision: ruled3, path: "/exact"},
	{target: "/v2/%2e%2e/exact", revision: ruled3, path: "/exact"},

	// Methods, headers, parameters.
	{target: "/m/x", method: http.MethodPost, revision: ruled3},
	{target: "/m/x", method: http.MethodPut, revision: ruled3},
	{target: "/m/x", revision: main1},
	{target: "/m/x", method: http.MethodDelete, revision: main1},
	{target: "/?q=1", header: field("X-Beta", "1"), revision: ruled3},
	{target: "/?q=1", revision: main1},
	{target: "/", header: field("X-Beta", "1"), revision: main1},
	{target: "/?q=1&q=2", header: field("X-Beta", "1"), revision: ruled3},
	{target: "/?q=2&q=1", header: field("X-Beta", "1"), revision: main1},
	{target: "/?q=%31", header: field("X-Beta", "1"), revision: main1},
	{target: "/?q=1", header: field("X-Beta", "1", "1"), revision: main1},
	{target: "/?q=1", header: field("X-Beta", "1 "), revision: ruled3},
	{target: "/", header: field("X-Part", "abc"), revision: canary2},
	{target: "/", header: field("X-Part", "ABC"), revision: main1},
	{target: "/", header: field("X-Part", "ab", "z"), revision: canary2},
	{target: "/?debug", revision: canary2},
	{target: "/?debug=", revision: canary2},
	{target: "/?a&debug=x=y", revision: canary2},
	{target: "/?Debug", revision: main1},

	// Another service: its intentions allow what is below /open, by the path that it gets.
	{target: "/bills/x?a", revision: till1, path: "/open/x?a"},
	{target: "/bills", revision: till1, path: "/open"},
	{target: "/safe/x", status: http.StatusForbidden},
	{target: "/bills/../safe", status: http.StatusForbidden},
	{target: "/bills/%2e%2e/safe", status: http.StatusForbidden},

	// Redirects, which nobody follows here.
	{target: "/old", status: http.StatusMovedPermanently, location: "/new"},
	{target: "/old/x?a=1", status: http.StatusMovedPermanently, location: "/new/x?a=1"},
	{target: "/away?a=%31", status: http.StatusFound, location: "https://example.com/there?a=%31"},
	{target: "/older", revision: main1},
}

func (c oneCase) String() string {
	method := c.method
	if method == "" {
		method = http.MethodGet
	}
	return strings.TrimSpace(fmt.Sprint(method, " ", c.name, c.target, " ", c.header))
}

// check sends the case by a way, and says what is not as it should be; empty: nothing.
func (c oneCase) check(ctx context.Context, w way) string {
	ctx, cancel := context.WithTimeout(ctx, harnesstest.WaitLong)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, c.method, w.url, nil)
	if err != nil {
		return err.Error()
	}
	path, query, queried := strings.Cut(c.target, "?")
	show := "headers=1" // The app shows what it got.
	if queried {
		show = query + "&" + show
	}
	req.URL = &url.URL{Scheme: "http", Host: req.URL.Host, Opaque: path, RawQuery: show}
	req.Header = c.header.Clone()
	client := *w.client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := harness.Do(&client, req)
	if err != nil {
		return err.Error()
	}
	got := oneCase{revision: res.Header.Get("Hello-Revision"), status: res.Status, location: res.Header.Get("Location")}
	if got.revision != "" {
		line, _, _ := strings.Cut(res.Body, "\r\n")
		_, got.path, _ = strings.Cut(strings.TrimSuffix(line, " HTTP/1.1"), " ")
	}
	want := oneCase{revision: c.revision, status: c.status, location: c.location}
	if want.status == 0 {
		want.status = http.StatusOK
	}
	shown := func(target, more string) string {
		if strings.Contains(target, "?") {
			return target + "&" + more
		}
		return target + "?" + more
	}
	if c.revision != "" {
		if want.path = c.path; want.path == "" {
			want.path = c.target
		}
		want.path = shown(want.path, "headers=1")
	}
	if want.location != "" {
		want.location = shown(want.location, "headers=1")
	}
	if got.revision != want.revision || got.status != want.status || got.location != want.location || got.path != want.path {
		return fmt.Sprintf("%s %d %s %s, want %s %d %s %s: %.300s", got.revision, got.status, got.path, got.location,
			want.revision, want.status, want.path, want.location, res.Body)
	}
	return ""
}

// waysOf are the gateway and the mesh caller under each name.
func waysOf(t *testing.T) map[string][]way {
	return map[string][]way{"": bothWays(t, "cases"), "canary-cases": bothWays(t, "canary-cases")}
}

// The gateway and a mesh caller's Envoy do the same with the same request: tags, routes, other
// services and redirects.
func TestCases(t *testing.T) {
	t.Parallel()
	version := func(v, more string, targets ...string) string {
		return versionWith("cases", map[string]string{"VERSION": v}, `window = "1h"`, more+harnesstest.Traffic(targets...))
	}
	stack.Deploy(t, versionWith("till", nil, `window = "1h"`, ""))
	allowOpen(t, "till")
	for _, v := range []string{"1", "2"} {
		stack.Deploy(t, version(v, ""))
	}
	stack.Deploy(t, version("3", casesRoutes, "100 "+main1, "0 "+canary2+" canary"))
	ways := waysOf(t)

	// Envoy has the routes as soon as it has the last of them; the intentions are the
	// instance's, or an activator's.
	for _, path := range []string{"/away", "/safe", "/bills"} {
		c := cases[slices.IndexFunc(cases, func(c oneCase) bool { return strings.HasPrefix(c.target, path) })]
		for _, w := range ways[""] {
			harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
				if why := c.check(t.Context(), w); why != "" {
					return fmt.Errorf("through %s, %s: %s", w.name, c, why)
				}
				return nil
			})
		}
	}
	// The first request of each revision wakes it, if it is at zero.
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() {
			for _, c := range cases {
				w := ways[c.name][i]
				if why := c.check(t.Context(), w); why != "" {
					t.Errorf("through %s, %s: %s", w.name, c, why)
				}
			}
		})
	}
	all.Wait()
	// A rule wakes its revision: one through the gateway, and one through Envoy.
	for _, revision := range []string{canary2, ruled3} {
		stack.ZeroByHand(t, revision)
	}
	for _, revision := range []string{canary2, ruled3} {
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error { return caller.Forgot(t.Context(), revision) })
	}
	for i, c := range []oneCase{{target: "/below/x", revision: canary2, path: "/b/x"}, {target: "/v2/x", revision: ruled3, path: "/x"}} {
		all.Go(func() {
			if why := c.check(t.Context(), ways[""][i]); why != "" {
				t.Errorf("from zero, through %s, %s: %s", ways[""][i].name, c, why)
			}
		})
	}
	all.Wait()
}

// allowOpen lets the caller and the gateway have what is below /open of a service, as the
// owner of its intentions does.
func allowOpen(t *testing.T, service string) {
	t.Helper()
	open := func(name string) *api.SourceIntention {
		return &api.SourceIntention{Name: name, Permissions: []*api.IntentionPermission{
			{Action: api.IntentionActionAllow, HTTP: &api.IntentionHTTPPermission{PathExact: "/open"}},
			{Action: api.IntentionActionAllow, HTTP: &api.IntentionHTTPPermission{PathPrefix: "/open/"}},
			{Action: api.IntentionActionDeny, HTTP: &api.IntentionHTTPPermission{PathPrefix: "/"}},
		}}
	}
	_, _, err := stack.Consul.ConfigEntries().Set(&api.ServiceIntentionsConfigEntry{
		Kind: api.ServiceIntentions, Name: service,
		Sources: []*api.SourceIntention{{Name: "wadi-activator", Action: api.IntentionActionAllow}, open(caller.Name), open(wadi.ServiceGateway)},
	}, nil)
	harnesstest.Must(t, "write intentions", err)
	t.Cleanup(func() { _, _ = stack.Consul.ConfigEntries().Delete(api.ServiceIntentions, service, nil) })
}
