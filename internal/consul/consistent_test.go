package consul_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// waking is a Consul whose leader was just elected and has read nothing of its log yet:
// only consistent reads get the state.
func waking(t *testing.T) *consul.Client {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Consul-Index", "7")
		if !r.URL.Query().Has("consistent") {
			switch {
			case r.URL.Path == "/v1/txn":
				fmt.Fprint(w, `{"Results":[{"KV":{"Key":"x"}}]}`)
			case r.URL.Path == "/v1/agent/self":
				fmt.Fprint(w, `{"DebugConfig":{"ACLResolverSettings":{"ACLDefaultPolicy":"allow"}}}`)
			case strings.HasPrefix(r.URL.Path, "/v1/kv/"), strings.Count(r.URL.Path, "/") == 4:
				w.WriteHeader(http.StatusNotFound)
			case r.URL.Path == "/v1/catalog/services":
				fmt.Fprint(w, "{}")
			default:
				fmt.Fprint(w, "[]")
			}
			return
		}
		switch r.URL.Path {
		case "/v1/catalog/services":
			fmt.Fprint(w, `{"x":[]}`)
		case "/v1/txn":
			fmt.Fprint(w, `{"Results":[{"KV":{"Key":"x","Value":"eA==","ModifyIndex":7}}]}`)
		default:
			fmt.Fprint(w, `[`+one(r.URL.Path)+`]`)
		}
	}))
	t.Cleanup(srv.Close)
	return newClient(t, srv.URL)
}

// one is the only answer of a path.
func one(path string) string {
	switch {
	case strings.HasPrefix(path, "/v1/kv/"):
		return `{"Key":"x","Value":"eA==","ModifyIndex":7}`
	case strings.HasPrefix(path, "/v1/health/"):
		return `{"Node":{"Node":"n"},"Service":{"ID":"x","Service":"x"}}`
	}
	return `{"Kind":"service-intentions","Name":"x"}`
}

// An empty answer of a Consul that has just started must not be believed: it would allow
// every caller, or remove every service.
func TestReads_OfAConsulThatHasJustStarted(t *testing.T) {
	for name, count := range map[string]func(context.Context, *consul.Client) (int, error){
		"list keys": func(ctx context.Context, c *consul.Client) (int, error) {
			v, err := c.List(ctx, "x")
			return len(v), err
		},
		"first wait for keys": func(ctx context.Context, c *consul.Client) (int, error) {
			v, _, err := c.WaitList(ctx, "x", 0)
			return len(v), err
		},
		"read a key": func(ctx context.Context, c *consul.Client) (int, error) {
			_, err := c.Get(ctx, "x")
			return 1, err
		},
		"read in a transaction": func(ctx context.Context, c *consul.Client) (int, error) {
			ps, err := c.Txn(ctx, []consul.Op{{Verb: consul.Read, Key: "x"}})
			if len(ps) != 1 || ps[0].Index == 0 {
				return 0, err
			}
			return 1, err
		},
		"first wait for a key": func(ctx context.Context, c *consul.Client) (int, error) {
			_, _, err := c.WaitGet(ctx, "x", 0, time.Second, false)
			return 1, err
		},
		"list entries": func(ctx context.Context, c *consul.Client) (int, error) {
			v, err := c.Entries(ctx, api.ServiceIntentions)
			return len(v), err
		},
		"list instances": func(ctx context.Context, c *consul.Client) (int, error) {
			v, err := c.Services(ctx, "x")
			return len(v), err
		},
		"watch intentions": func(ctx context.Context, c *consul.Client) (int, error) {
			return first(ctx, func(ctx context.Context, emit func(int), report func(error)) error {
				return c.WatchIntentions(ctx, func(i consul.Intentions) { emit(len(i.Entries)) }, report)
			})
		},
		"watch entries": func(ctx context.Context, c *consul.Client) (int, error) {
			return first(ctx, func(ctx context.Context, emit func(int), report func(error)) error {
				return c.WatchEntries(ctx, api.ServiceIntentions, func(v []api.ConfigEntry) { emit(len(v)) }, report)
			})
		},
		"watch instances": func(ctx context.Context, c *consul.Client) (int, error) {
			return first(ctx, func(ctx context.Context, emit func(int), report func(error)) error {
				return c.WatchServices(ctx, "x", func(v []consul.Instance) { emit(len(v)) }, report)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := count(t.Context(), waking(t)); err != nil || got != 1 {
				t.Errorf("got %d (%v), want 1: what was there before Consul started", got, err)
			}
		})
	}
}

// first is the first value that a watch emits, or its failure.
func first(ctx context.Context, watch func(context.Context, func(int), func(error)) error) (n int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := watch(ctx, func(got int) { n = got; cancel() }, func(e error) { err = e; cancel() })
	if err == nil {
		err = failed
	}
	return n, err
}

// Only Consul's own 404 says that there is no such key: a misconfigured proxy in front of
// it proves nothing.
func TestReads_NotFoundOfAnotherServer(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	c := newClient(t, srv.URL)
	_, get := c.Get(t.Context(), "x")
	_, list := c.List(t.Context(), "x")
	_, txn := c.Txn(t.Context(), []consul.Op{{Verb: consul.Read, Key: "x"}})
	for what, err := range map[string]error{"get": get, "list": list, "transaction": txn} {
		if err == nil || errors.Is(err, wadi.ErrNotFound) {
			t.Errorf("%s: got %v, want an error that is not ErrNotFound", what, err)
		}
	}
}
