//go:build e2e

package rights_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	consulapi "github.com/hashicorp/consul/api"
	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Where Nomad and Consul deny what no policy allows, an agent with the least policies
// starts a service in the mesh, stops it when it is idle, and starts it again.
func TestLeast_ThereAndBack(t *testing.T) {
	a := stack.Agent
	harnesstest.Must(t, "apply", a.Apply(t.Context(), inMesh("least", `window = "6s"`)))
	t.Cleanup(func() { harnesstest.Must(t, "delete", a.Delete(context.WithoutCancel(t.Context()), "least")) })
	answers(t, a, "least")
	harnesstest.Must(t, "wait for zero", stack.WaitCount(t.Context(), "least-00001", harnesstest.WaitLong, func(n int) bool { return n == 0 }))
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

// The job that fetches a revision's images needs no right beside the least ones: it is
// listed, registered, read and removed with them. No node here can run a container.
func TestLeast_ImagePrefetch(t *testing.T) {
	a := stack.Agent
	_, err := a.Submit(t.Context(), `service "fetched" {
  network        = "host"
  mesh           = "off"
  image_prefetch = true
  resolve_images = "off"
  instance {
    task "web" {
      driver = "docker"
      config {
        image = "fetched:1"
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
`)
	harnesstest.Must(t, "submit", err)
	t.Cleanup(func() { harnesstest.Must(t, "delete", a.Delete(context.WithoutCancel(t.Context()), "fetched")) })
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		s, err := a.Client.Service(t.Context(), "fetched")
		if err != nil || len(s.Status.Revisions) == 0 {
			return cmp.Or(err, errors.New("no status yet"))
		}
		if got, want := s.Status.Revisions[0].Prefetch, "no node could run it: no image is fetched"; got != want {
			return fmt.Errorf("prefetch %q, want %q", got, want)
		}
		return nil
	})
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		_, _, err := stack.Nomad.Jobs().Info(wadi.PrefetchID("fetched-00001"), nil)
		if err == nil {
			return errors.New("the job that fetches the images is still there")
		}
		if !strings.Contains(err.Error(), "404") {
			return err
		}
		return nil
	})
}
