//go:build e2e

package doctor_test

import (
	"testing"

	consul "github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A root of the mesh that ends in ten days. It is the last of the tests: a new root is not
// undone.
func TestDoctor_RootEndsSoon(t *testing.T) {
	ca := stack.Consul.Connect()
	conf, _, err := ca.CAGetConfig(nil)
	harnesstest.Must(t, "read the authority's configuration", err)
	conf.Config = map[string]any{"LeafCertTTL": "72h", "IntermediateCertTTL": "216h", "RootCertTTL": "240h", "PrivateKeyType": "ec", "PrivateKeyBits": 384}
	_, err = ca.CASetConfig(&consul.CAConfig{Provider: conf.Provider, Config: conf.Config}, nil)
	harnesstest.Must(t, "make a new root", err)
	finds(t, stack.Agent, "warn", ": mesh", "the root certificate expires on ")
}
