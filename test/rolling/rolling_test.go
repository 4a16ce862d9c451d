//go:build e2e

// Package rolling_test replaces agents of the version before by those of the checkout, one by
// one, and takes that back, under load on the real stack.
package rolling_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// agents is how many there are.
const agents = 3

// roll is an upgrade and its rollback.
type roll struct {
	*harnesstest.Stack
	agents   []*harness.Agent
	old, new string // Folders of programs.
	isNew    map[string]bool
}

// Agents are replaced one by one, by newer ones and then by older ones again, while requests
// come. No request fails, no instance is started again, and agents of both versions lead and
// make ready what is submitted through the other.
func TestUpgradeAndRollback(t *testing.T) {
	root, err := harness.Root()
	harnesstest.Must(t, "find the checkout", err)
	commit, subject, err := previous(t.Context(), root)
	if errors.Is(err, errNoHistory) {
		t.Skipf("SKIPPED, nothing was upgraded: %v", err)
	}
	harnesstest.Must(t, "find the version before", err)
	t.Logf("from %s", subject)
	r := &roll{old: t.TempDir(), new: filepath.Join(root, "bin"), isNew: map[string]bool{}}
	harnesstest.Must(t, "build the version before", build(t.Context(), root, commit, r.old))
	r.start(t)
	hcl := harnesstest.Hello("steady", `min = 1
    window = "10m"`, "") + harnesstest.Hello("naps", `window = "6s"`, "")
	revisions := []string{"steady-00001", "naps-00001"}
	if r.Cluster.Bridge {
		hcl += harnesstest.HelloInMesh("meshed", nil, `min = 1
    window = "10m"`, "")
		revisions = append(revisions, "meshed-00001")
	} else {
		t.Log("without a service in the mesh: " + r.Cluster.WhyNot)
	}
	r.Deploy(t, hcl)
	b := startBalancer(t, r.agents)
	loads := map[string]*harnesstest.Load{"steady": harnesstest.StartWorkers(t, 2, 10*time.Millisecond, b.to("steady"))}
	loads["naps"] = harnesstest.StartWorkers(t, 1, time.Second, func(ctx context.Context) (string, error) {
		text, err := b.to("naps")(ctx)
		if err == nil {
			err = r.WaitCount(ctx, "naps-00001", time.Minute, func(n int) bool { return n <= 0 })
		}
		return text, err
	})
	if r.Cluster.Bridge {
		callers, err := r.StartCallers(t.Context(), []string{"meshed"}, "caller")
		harnesstest.Must(t, "start a caller in the mesh", err)
		loads["meshed"] = harnesstest.StartWorkers(t, 2, 10*time.Millisecond, harnesstest.Getting(callers[0].Client(t), callers[0].URL("meshed", "/")))
	}
	for _, name := range []string{"steady", "naps"} {
		loads[name].Wait(t, 1)
	}
	before := r.instances(t, revisions)

	r.replace(t, r.new)
	r.submitThrough(t, r.byVersion(true), "byfollower") // An old agent leads, or was one moments ago.
	r.replace(t, r.new)
	r.replace(t, r.new)
	r.wantLeader(t, true)
	r.replace(t, r.old) // Now a new one leads, and an old one follows.
	r.wantLeader(t, true)
	r.submitThrough(t, r.byVersion(false), "byolder")
	r.replace(t, r.old)
	r.replace(t, r.old)
	r.wantLeader(t, false)

	for name, l := range loads {
		l.WantAll(t, map[string]int{"naps": 2}[name]+1)
		t.Logf("%s: %v", name, l) // A nap is counted with its request.
	}
	if diff := cmp.Diff(before, r.instances(t, revisions)); diff != "" {
		t.Errorf("instances, or their jobs, have changed (-before +after):\n%s", diff)
	}
	r.wantFirstRevisions(t)
}

// start starts a cluster with agents of the version before.
func (r *roll) start(t *testing.T) {
	t.Helper()
	s, err := harness.Start(t.Context(), harness.Options{Bin: r.old})
	harnesstest.Must(t, "start stack", err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
		defer cancel()
		harnesstest.Must(t, "stop stack", s.Stop(ctx))
	})
	r.Stack, r.agents = &harnesstest.Stack{Stack: s}, []*harness.Agent{s.Agent}
	for i := len(r.agents); i < agents; i++ {
		a, err := s.NewAgent(fmt.Sprintf("wadi-%d", i+1), "")
		harnesstest.Must(t, "configure an agent", err)
		harnesstest.Must(t, "start it", a.Start(t.Context()))
		harnesstest.Must(t, "wait for it", a.WaitLeader(t.Context()))
		r.agents = append(r.agents, a)
	}
}

// leader is the agent that leads, as all agents but one that is replaced say it.
func (r *roll) leader(t *testing.T, but *harness.Agent) (leads *harness.Agent) {
	t.Helper()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		leads = nil
		for _, a := range r.agents {
			if a == but {
				continue
			}
			l, err := a.Client.Leader(t.Context())
			i := slices.IndexFunc(r.agents, func(a *harness.Agent) bool { return a.Name == l.Name })
			switch {
			case err != nil:
				return err
			case i < 0 || r.agents[i] == but || leads != nil && leads != r.agents[i]:
				return fmt.Errorf("%s takes %q for the leader", a.Name, l.Name)
			}
			leads = r.agents[i]
		}
		return nil
	})
	return leads
}

// replace replaces an agent of the other version: the leader if it is one.
func (r *roll) replace(t *testing.T, bin string) {
	t.Helper()
	toNew := bin == r.new
	a := r.leader(t, nil)
	if r.isNew[a.Name] == toNew {
		a = r.byVersion(!toNew)
	}
	harnesstest.Must(t, "stop "+a.Name, a.Stop(t.Context()))
	next := r.leader(t, a)
	harnesstest.Must(t, "replace "+a.Name, a.UsePrograms(bin))
	harnesstest.Must(t, "start "+a.Name, a.Start(t.Context()))
	harnesstest.Must(t, "wait for "+a.Name, a.WaitLeader(t.Context()))
	r.isNew[a.Name] = toNew
	t.Logf("%s is replaced (new: %v), %s leads (new: %v)", a.Name, toNew, next.Name, r.isNew[next.Name])
}

// byVersion is an agent of a version.
func (r *roll) byVersion(isNew bool) *harness.Agent {
	i := slices.IndexFunc(r.agents, func(a *harness.Agent) bool { return r.isNew[a.Name] == isNew })
	return r.agents[i]
}

// wantLeader fails the test unless an agent of that version leads.
func (r *roll) wantLeader(t *testing.T, isNew bool) {
	t.Helper()
	if a := r.leader(t, nil); r.isNew[a.Name] != isNew {
		t.Errorf("%s leads (new: %v), want one of the other version", a.Name, r.isNew[a.Name])
	}
}

// submitThrough submits a service through an agent, and waits until the leader has made it
// ready.
func (r *roll) submitThrough(t *testing.T, a *harness.Agent, name string) {
	t.Helper()
	sub, err := a.Submit(t.Context(), harnesstest.Hello(name, `window = "6s"`, ""))
	harnesstest.Must(t, "submit through "+a.Name, err)
	t.Cleanup(func() { r.Remove(t, name) })
	harnesstest.Must(t, "wait for it", a.WaitReady(t.Context(), name, sub.Services[0].Generation))
}

// instance is what must stay of a revision: the job with its tasks, and allocations that run.
type instance struct {
	Created uint64
	Allocs  []string // ID and restarts; none of a service that goes to zero.
}

func (r *roll) instances(t *testing.T, revisions []string) map[string]instance {
	t.Helper()
	out := map[string]instance{}
	for _, id := range revisions {
		job, _, err := r.Nomad.Jobs().Info(id, (&nomad.QueryOptions{}).WithContext(t.Context()))
		harnesstest.Must(t, "read job "+id, err)
		now := instance{Created: *job.CreateIndex}
		if id != "naps-00001" {
			allocs, err := r.Allocs(t.Context(), id)
			harnesstest.Must(t, "list allocations of "+id, err)
			for _, a := range allocs {
				restarts := uint64(0)
				for _, s := range a.TaskStates {
					restarts += s.Restarts
				}
				now.Allocs = append(now.Allocs, fmt.Sprintf("%s %s, %d restarts", a.ID, a.ClientStatus, restarts))
			}
			slices.Sort(now.Allocs)
		}
		out[id] = now
	}
	return out
}

// wantFirstRevisions fails the test unless every service has one revision and is ready.
func (r *roll) wantFirstRevisions(t *testing.T) {
	t.Helper()
	all, err := r.Agent.Client.Services(t.Context())
	harnesstest.Must(t, "list services", err)
	if len(all) < 4 {
		t.Errorf("%d services are listed, want all", len(all))
	}
	for _, listed := range all {
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
			s, err := r.Agent.Client.Service(t.Context(), listed.Name)
			var revisions []api.Revision
			if err == nil {
				revisions, err = r.Agent.Client.Revisions(t.Context(), listed.Name)
			}
			if err == nil && (len(revisions) != 1 || s.Generation != 1 || s.Status.Phase != "ready") {
				err = fmt.Errorf("%s: %d revisions, generation %d, %s; want one revision that is ready", listed.Name, len(revisions), s.Generation, s.Status.Phase)
			}
			return err
		})
	}
}
