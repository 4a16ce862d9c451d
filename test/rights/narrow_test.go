//go:build e2e

package rights_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/internal/policies"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// narrowService is in the mesh, in one namespace, and its jobs have a volume of the host.
func narrowService() string {
	text := strings.Replace(inMesh("narrow", `window = "6s"`), "{\n", "{\n  namespace = \"shop\"\n", 1)
	return strings.Replace(text, "  instance {\n", "  instance {\n    volume \"data\" {\n      type            = \"host\"\n      source          = \"shared\"\n      access_mode     = \"single-node-multi-writer\"\n      attachment_mode = \"file-system\"\n    }\n", 1)
}

// An installation may have rights in one namespace only, and to services of known names. A
// right to a volume of the host is asked for where a job mounts it.
func TestNarrow_SomeNamespacesAndServices(t *testing.T) {
	harnesstest.Must(t, "make a namespace", namespace(t, "shop"))
	hostVolume(t, "shop", "shared")
	p, err := stack.LeastPolicies(t.Context(), "-namespaces", "shop")
	harnesstest.Must(t, "print the policies", err)
	all := policies.Consul(policies.Options{Prefix: policies.DefaultPrefix, Intentions: true}).String()
	named := strings.Replace(all, policies.Services(true).String(), policies.Policy{policies.OwnServices(), policies.Service("narrow", true)}.String(), 1)
	if named == all {
		t.Fatalf("there is no rule for all services in\n%s", all)
	}
	broad := map[string][]printedRight{"nomad": printedRights(t, "nomad"), "consul": printedRights(t, "consul")}
	t.Cleanup(func() {
		for system, rights := range broad {
			setPolicy(t, system, without(rights, -1))
		}
	})
	setPolicy(t, "nomad", p.Nomad)
	setPolicy(t, "consul", named)
	a := stack.Agent
	harnesstest.Must(t, "restart the agent", restarted(t, time.Minute))
	harnesstest.Must(t, "apply", a.Apply(t.Context(), narrowService()))
	t.Cleanup(func() { harnesstest.Must(t, "delete", a.Delete(context.WithoutCancel(t.Context()), "narrow")) })
	wellIn(t, a)

	t.Run("a volume of the host", func(t *testing.T) {
		purged := &nomadapi.WriteOptions{Namespace: "shop"}
		_, _, err := stack.Nomad.Jobs().Deregister("narrow-00001", true, purged)
		harnesstest.Must(t, "purge the job", err)
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error { return refused(a, "narrow-00001") })
		if _, _, err := stack.Nomad.Jobs().Info("narrow-00001", &nomadapi.QueryOptions{Namespace: "shop"}); err == nil {
			t.Error("the job is back without the right to its volume")
		}
		p, err := stack.LeastPolicies(t.Context(), "-namespaces", "shop", "-host-volumes", "shared")
		harnesstest.Must(t, "print the policies", err)
		setPolicy(t, "nomad", p.Nomad)
		wellIn(t, a)
	})
}

// wellIn waits until the service answers, and looks whether the doctor misses a right.
func wellIn(t *testing.T, a *harness.Agent) {
	t.Helper()
	answers(t, a, "narrow")
	for _, f := range doctor(t, a) {
		if strings.Contains(f.What, "lacks") {
			t.Errorf("the doctor found %+v", f)
		}
	}
}

// refused looks whether Nomad has refused the agent something about a job.
func refused(a *harness.Agent, job string) error {
	for line := range strings.Lines(a.Tail(400)) {
		if strings.Contains(line, job) && strings.Contains(line, "Permission denied") {
			return nil
		}
	}
	return fmt.Errorf("nothing about %s is refused:\n%s", job, a.Tail(20))
}

// hostVolume makes a volume of the host, on the node that runs jobs.
func hostVolume(t *testing.T, namespace, name string) {
	t.Helper()
	nodes, _, err := stack.Nomad.Nodes().List(nil)
	harnesstest.Must(t, "list nodes", err)
	for _, n := range nodes {
		if n.Name != "wadi-dev" {
			continue
		}
		_, _, err := stack.Nomad.HostVolumes().Register(&nomadapi.HostVolumeRegisterRequest{Volume: &nomadapi.HostVolume{
			Namespace: namespace, Name: name, NodeID: n.ID, HostPath: t.TempDir(),
			RequestedCapabilities: []*nomadapi.HostVolumeCapability{{
				AttachmentMode: nomadapi.HostVolumeAttachmentModeFilesystem, AccessMode: nomadapi.HostVolumeAccessModeSingleNodeMultiWriter,
			}},
		}}, &nomadapi.WriteOptions{Namespace: namespace})
		harnesstest.Must(t, "register the volume", err)
		return
	}
	t.Fatalf("no node runs jobs among %d", len(nodes))
}
