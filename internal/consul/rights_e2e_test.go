//go:build e2e

package consul_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/consul/consultest"
)

// Consul's agent has a default token that may do everything, and so may Wadi's own here:
// neither counts for a caller without a token.
func TestMayWriteIntentions_RealConsul(t *testing.T) {
	const management = "5f1b6c1e-2222-4000-8000-000000000000"
	a := consultest.StartAgent(t, false, `acl {
		enabled        = true
		default_policy = "deny"
		tokens {
			initial_management = "`+management+`"
			default            = "`+management+`"
		}
	}`)
	c, err := consul.New(consul.Config{Address: a.URL, Token: management})
	if err != nil {
		t.Fatal(err)
	}
	policies := 0
	token := func(rules string) string {
		t.Helper()
		policies++
		p, _, err := c.API().ACL().PolicyCreate(&api.ACLPolicy{Name: fmt.Sprintf("p%d", policies), Rules: rules}, nil)
		if err != nil {
			t.Fatal(err)
		}
		tok, _, err := c.API().ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: p.ID}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return tok.SecretID
	}
	for name, tt := range map[string]struct {
		token string
		may   bool
	}{
		"management":            {management, true},
		"intentions":            {token(`service "hello" { policy = "read" intentions = "write" }`), true},
		"intentions by prefix":  {token(`service_prefix "" { policy = "read" intentions = "write" }`), true},
		"intentions of another": {token(`service "hello-2" { policy = "read" intentions = "write" }`), false},
		"the service alone":     {token(`service "hello" { policy = "write" }`), false},
		"none":                  {"", false},
		"unknown":               {"5f1b6c1e-9999-4000-8000-000000000000", false},
		"anonymous by its name": {"anonymous", false},
		"a blank":               {" \t", false},
	} {
		err := c.MayWriteIntentions(t.Context(), tt.token, "hello")
		if tt.may && err != nil || !tt.may && !errors.Is(err, wadi.ErrForbidden) {
			t.Errorf("%s: got %v, want allowed = %v", name, err, tt.may)
		}
	}
	open := consultest.StartAgent(t, false)
	o, err := consul.New(consul.Config{Address: open.URL})
	if err != nil {
		t.Fatal(err)
	}
	for _, tok := range []string{"", "whatever"} {
		if err := o.MayWriteIntentions(t.Context(), tok, "hello"); err != nil {
			t.Errorf("without ACLs: %v", err)
		}
	}
	open.Kill()
	if err := o.MayWriteIntentions(t.Context(), "", "hello"); !errors.Is(err, wadi.ErrUnavailable) {
		t.Errorf("without Consul: %v", err)
	}
}
