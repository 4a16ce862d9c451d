//go:build e2e

package rights_test

import (
	"context"
	"testing"
	"time"

	consulapi "github.com/hashicorp/consul/api"
	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Where Nomad and Consul deny what no policy allows, an agent with the least policies
// starts a service in the mesh, stops it when it is idle, and starts it again.
func TestLeast_ThereAndBack(t *testing.T) {
	a := stack.Agent
	harnesstest.Must(t, "apply", a.Apply(t.Context(), inMesh("least", `window = "6s"`)))
	t.Cleanup(func() { harnesstest.Must(t, "delete", a.Delete(context.WithoutCancel(t.Context()), "least")) })
	answers(t, a, "least")
	harnesstest.Must(t, "wait for zero", stack.WaitCount(t.Context(), "least-00001", time.Minute, func(n int) bool { return n == 0 }))
	answers(t, a, "least")
	for _, f := range doctor(t, a) {
		if f.Level == "fail" {
			t.Errorf("the doctor found %+v", f)
		}
	}
}

// Without a token nothing is allowed in this cluster: what these tests prove about rights
// is proved.
func TestLeast_NobodyMayDoAnything(t *testing.T) {
	nomad, err := nomadapi.NewClient(&nomadapi.Config{Address: stack.Cluster.NomadAddr})
	harnesstest.Must(t, "make a client", err)
	if _, _, err := nomad.Jobs().List(nil); err == nil {
		t.Error("Nomad lists jobs to anyone")
	}
	consul, err := consulapi.NewClient(&consulapi.Config{Address: stack.Cluster.ConsulAddr})
	harnesstest.Must(t, "make a client", err)
	if _, err := consul.KV().Put(&consulapi.KVPair{Key: "wadi/x", Value: []byte("x")}, nil); err == nil {
		t.Error("Consul takes keys from anyone")
	}
}
