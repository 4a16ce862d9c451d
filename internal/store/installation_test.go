package store_test

import (
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/consul/consultest"
	"github.com/wadi-run/wadi/internal/store"
)

// All agents of an installation know it by one name, and no other one has it.
func TestInstallation(t *testing.T) {
	f := consultest.Start(t)
	name := func(prefix, agent string) string {
		t.Helper()
		c, err := consul.New(consul.Config{Address: f.URL})
		if err != nil {
			t.Fatal(err)
		}
		got, err := store.New(c, prefix, agent, hclog.NewNullLogger()).Installation(t.Context())
		if err != nil || got == "" {
			t.Fatalf("got %q, %v", got, err)
		}
		return got
	}
	one := name("wadi", "a")
	if two := name("wadi/", "b"); two != one {
		t.Errorf("two agents call their installation %q and %q", one, two)
	}
	if other := name("other", "a"); other == one {
		t.Errorf("two installations are called %q", one)
	}
}
