//go:build e2e

package consul_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/consul/consultest"
)

const rootToken = "8c2c9d8a-0f4e-4b4e-9f0c-1c8f0f2f6a10"

// aclAgent is a Consul that denies by default, and a function that makes tokens.
func aclAgent(t *testing.T, hcl string) (*consultest.Agent, func(rules string) *consul.Client) {
	t.Helper()
	a := consultest.StartAgent(t, false, fmt.Sprintf(`acl {
		enabled = true
		default_policy = "deny"
		tokens { initial_management = %q }
	}
	%s`, rootToken, hcl))
	root, err := api.NewClient(&api.Config{Address: a.URL, Token: rootToken})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	return a, func(rules string) *consul.Client {
		t.Helper()
		n++
		p, _, err := root.ACL().PolicyCreate(&api.ACLPolicy{Name: fmt.Sprint("p", n), Rules: rules}, nil)
		if err != nil {
			t.Fatal(err)
		}
		token, _, err := root.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{ID: p.ID}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return clientAt(t, a.URL, token.SecretID)
	}
}

func clientAt(t *testing.T, url, token string) *consul.Client {
	t.Helper()
	c, err := consul.New(consul.Config{Address: url, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// watch returns the emitted and reported values of the watch.
func watchIntentions(t *testing.T, c *consul.Client) (got chan consul.Intentions, reported chan error) {
	t.Helper()
	got, reported = make(chan consul.Intentions, 100), make(chan error, 100)
	done := make(chan struct{})
	ctx := t.Context()
	go func() {
		defer close(done)
		_ = c.WatchIntentions(ctx, func(i consul.Intentions) { got <- i }, func(err error) {
			select {
			case reported <- err:
			default:
			}
		})
	}()
	t.Cleanup(func() { <-done })
	return got, reported
}

func next(t *testing.T, got chan consul.Intentions, want func(consul.Intentions) bool) consul.Intentions {
	t.Helper()
	for deadline := time.After(3 * time.Minute); ; {
		select {
		case i := <-got:
			if want(i) {
				return i
			}
		case <-deadline:
			t.Fatal("not seen")
		}
	}
}

func deny(name string) *api.ServiceIntentionsConfigEntry {
	return &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: name, Sources: []*api.SourceIntention{{Name: "*", Action: "deny"}}}
}

func TestE2E_WatchIntentions(t *testing.T) {
	a, token := aclAgent(t, "")
	full := token(`service_prefix "" { policy = "write" intentions = "write" } agent_prefix "" { policy = "read" }`)
	got, reported := watchIntentions(t, full)
	if first := next(t, got, func(consul.Intentions) bool { return true }); len(first.Entries) != 0 || first.DefaultAllow {
		t.Errorf("got %+v", first)
	}
	if err := full.SetEntry(t.Context(), deny("hello"), 0); err != nil {
		t.Fatal(err)
	}
	next(t, got, func(i consul.Intentions) bool { return len(i.Entries) == 1 && i.Entries[0].Name == "hello" })
	if len(reported) > 0 {
		t.Errorf("reported %v", <-reported)
	}

	// Without agent read the default counts as deny, and that is reported.
	blind := token(`service_prefix "" { policy = "read" }`)
	got, reported = watchIntentions(t, blind)
	if i := next(t, got, func(consul.Intentions) bool { return true }); i.DefaultAllow || len(i.Entries) != 1 {
		t.Errorf("got %+v", i)
	}
	if err := <-reported; !strings.Contains(err.Error(), "agent read") {
		t.Errorf("got %v", err)
	}

	// Unreadable intentions look as if there were none, except for UnlistedIntentions.
	names := []string{"hello", "none", "secret"}
	for i := range 250 {
		names = append(names, fmt.Sprint("other-", i))
	}
	part := token(`service_prefix "" { policy = "read" } service "secret" { policy = "write" intentions = "deny" }`)
	if err := full.SetEntry(t.Context(), deny("secret"), 0); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		client *consul.Client
		names  []string
		want   map[string]bool
	}{
		"all":      {full, names, map[string]bool{}},
		"part":     {part, names, map[string]bool{"secret": true}},
		"nothing":  {token(`key_prefix "" { policy = "write" }`), names[:3], map[string]bool{"hello": true, "none": true, "secret": true}},
		"no token": {clientAt(t, a.URL, ""), names[:1], map[string]bool{"hello": true}},
		"no name":  {full, nil, map[string]bool{}},
	} {
		got, err := tt.client.UnlistedIntentions(t.Context(), tt.names)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tt.want, got.Hidden); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		present := map[string]bool{}
		for _, s := range []string{"hello", "secret"} { // The two that have intentions.
			if slices.Contains(tt.names, s) && !tt.want[s] {
				present[s] = true
			}
		}
		if diff := cmp.Diff(present, got.Present); diff != "" {
			t.Errorf("%s: present: %s", name, diff)
		}
	}
	if err := full.SetEntry(t.Context(), deny("*"), 0); err != nil {
		t.Fatal(err)
	}
	if got, err := full.UnlistedIntentions(t.Context(), []string{"none"}); err != nil || !got.Present["*"] || len(got.Present) != 1 {
		t.Errorf("with an intention of all: %v, %v", got, err)
	}
	a.Kill()
	if got, err := full.UnlistedIntentions(t.Context(), names); err == nil {
		t.Errorf("while consul is away: %v", got)
	}
}

// The default is the agent's own, or else that of its ACLs, and is read again after the
// agent was unavailable.
func TestE2E_IntentionsDefault(t *testing.T) {
	plain := consultest.StartAgent(t, false)
	denying := consultest.StartAgent(t, false, `default_intention_policy = "deny"`)
	allowing, token := aclAgent(t, `default_intention_policy = "allow"`)
	_ = allowing
	for name, tt := range map[string]struct {
		client *consul.Client
		want   bool
	}{
		"no ACLs":         {clientAt(t, plain.URL, ""), true},
		"no ACLs, denies": {clientAt(t, denying.URL, ""), false},
		"ACLs, allows":    {token(`agent_prefix "" { policy = "read" } service_prefix "" { policy = "read" }`), true},
	} {
		got, _ := watchIntentions(t, tt.client)
		if i := next(t, got, func(consul.Intentions) bool { return true }); i.DefaultAllow != tt.want {
			t.Errorf("%s: got %t", name, i.DefaultAllow)
		}
	}
}
