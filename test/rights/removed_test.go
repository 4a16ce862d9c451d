//go:build e2e

package rights_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	consulapi "github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// printedRight is one right of a policy, as the doctor prints it in JSON.
type printedRight struct{ Resource, Right, Access, Without string }

// removal is what happens without one right.
type removal struct {
	says   string                 // What the doctor says, and the log of an agent that starts.
	starts string                 // What that log says instead; empty: the same.
	extra  string                 // Configuration of the agent that starts.
	works  func(*testing.T) error // An error while what the right is for does not work; nil: the start of an agent.
}

// removals are the rights of both policies, as docs/security.md calls them.
func removals() map[string]removal {
	return map[string]removal{
		"submit-job":                           {says: `lacks submit-job in the namespace "default"`, works: wakes},
		"read-job":                             {says: `lacks read-job in the namespace "default"`, works: healthy},
		"list-jobs":                            {says: `lacks list-jobs in the namespace "default"`},
		`node policy = read`:                   {says: "lacks node:read", works: knowsVersions},
		`key_prefix "wadi/" policy = write`:    {says: "lacks write on keys below wadi/", works: listed},
		`session_prefix "" policy = write`:     {says: "lacks write on the session", works: leads},
		`node_prefix "" policy = read`:         {says: "lacks read on the node", works: goesToZero},
		`agent_prefix "" policy = read`:        {says: "lacks read on the agent", starts: "lacks permission 'agent:read'", extra: "advertise = \"\"\n"},
		`service_prefix "" policy = write`:     {says: `lacks write on the service "wadi"`, works: healthy},
		`service_prefix "" intentions = write`: {says: "lacks write on the intentions of 1 service", works: takesCallers},
	}
}

// wakes asks a service that is at zero.
func wakes(t *testing.T) error {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	res, err := stack.Agent.Get(ctx, "removed", "/")
	if err == nil && res.Status != http.StatusOK {
		err = fmt.Errorf("got %d: %s", res.Status, res.Body)
	}
	return err
}

// knowsVersions looks whether the doctor judges the versions of Nomad's servers.
func knowsVersions(t *testing.T) error {
	if !slices.ContainsFunc(doctor(t, stack.Agent), func(f finding) bool { return strings.Contains(f.What, "its version is ") }) {
		return errors.New("the doctor does not know the versions of Nomad's servers")
	}
	return nil
}

// listed looks whether services can be read.
func listed(t *testing.T) error {
	if ran := run(t, stack.Agent, "", "service", "list"); ran.Code != 0 {
		return errors.New(ran.String())
	}
	return nil
}

// healthy asks the agent for what keeps it from being healthy.
func healthy(t *testing.T) error { return stack.Agent.Client.Health(t.Context()) }

// leads restarts the agent that leads, and looks whether there is a leader again.
func leads(t *testing.T) error { return restarted(t, 6*time.Second) }

// restarted restarts the agent, and looks whether it is healthy in time.
func restarted(t *testing.T, within time.Duration) error {
	if err := stack.Agent.Stop(t.Context()); err != nil {
		return harness.Final(err)
	}
	if err := stack.Agent.Start(t.Context()); err != nil {
		return harness.Final(err)
	}
	return harness.Eventually(t.Context(), within, func() error { return healthy(t) })
}

// goesToZero looks whether a service that was asked can go to zero when it is idle. An agent
// that was there before goes on with what Consul listed then, until that changes.
func goesToZero(t *testing.T) error {
	if err := restarted(t, time.Minute); err != nil {
		return harness.Final(err)
	}
	if err := wakes(t); err != nil {
		return err
	}
	return harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		if ran := run(t, stack.Agent, "", "explain", "removed"); strings.Contains(ran.Stdout, "  why       not wakeable from zero") { // Now, not in its history.
			return harness.Final(errors.New(ran.Stdout))
		}
		n, err := stack.Count(t.Context(), "removed-00001")
		if err == nil && n > 0 {
			err = fmt.Errorf("it has count %d", n)
		}
		return err
	})
}

// takesCallers lets another service call, and looks whether Consul knows that.
func takesCallers(t *testing.T) error {
	caller := fmt.Sprintf("caller-%d", time.Now().UnixNano())
	sub, err := stack.Agent.Submit(t.Context(), strings.Replace(inMesh("removed", `window = "6s"`), "somebody", caller, 1))
	if err != nil || len(sub.Services) != 1 {
		return harness.Final(fmt.Errorf("%v: %w", sub, err))
	}
	return harness.Eventually(t.Context(), 5*time.Second, func() error {
		entry, _, err := stack.Consul.ConfigEntries().Get(consulapi.ServiceIntentions, "removed", nil)
		if err != nil {
			return err
		}
		for _, s := range entry.(*consulapi.ServiceIntentionsConfigEntry).Sources {
			if s.Name == caller {
				return nil
			}
		}
		return fmt.Errorf("%s is not among the intentions", caller)
	})
}

// Each right of the agents' policies is needed: without it the doctor names it, and so does
// the log of an agent that starts, and what it is for does not work. With it back all is
// well again, also for the agent that started without it.
func TestRemoved_EachOfThePolicies(t *testing.T) {
	known := removals()
	harnesstest.Must(t, "apply", stack.Agent.Apply(t.Context(), inMesh("removed", `window = "6s"`)))
	t.Cleanup(func() {
		harnesstest.Must(t, "delete", stack.Agent.Delete(context.WithoutCancel(t.Context()), "removed"))
	})
	harnesstest.Must(t, "wait for zero", stack.WaitCount(t.Context(), "removed-00001", harnesstest.WaitLong, func(n int) bool { return n == 0 }))
	for _, system := range []string{"nomad", "consul"} {
		rights := printedRights(t, system)
		for i, right := range rights {
			r, is := known[right.name()]
			if !is {
				t.Errorf("nothing is known of %s", right.name())
				continue
			}
			delete(known, right.name())
			t.Run(right.name(), func(t *testing.T) { remove(t, system, rights, i, r) })
		}
	}
	for name := range known {
		t.Errorf("no policy has %s", name)
	}
}

// remove takes a right away, looks what happens, and gives it back.
func remove(t *testing.T, system string, rights []printedRight, one int, r removal) {
	setPolicy(t, system, without(rights, one))
	defer setPolicy(t, system, without(rights, -1)) // Also if the test ends before.
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { return says(t, r.says) })

	name := fmt.Sprintf("wadi-%s-%d", system, one)
	starts, err := stack.NewAgent(name, r.extra)
	harnesstest.Must(t, "configure "+name, err)
	harnesstest.Must(t, "start "+name, starts.Start(t.Context()))
	t.Cleanup(func() { harnesstest.Must(t, "stop "+name, starts.Stop(context.WithoutCancel(t.Context()))) })
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { return logs(starts, cmp.Or(r.starts, r.says)) })

	works := r.works
	if works == nil {
		works = func(t *testing.T) error { return starts.Client.Health(t.Context()) }
	}
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if err := works(t); err != nil {
			t.Logf("without it: %v", err)
			return nil
		}
		return errors.New("it works without the right")
	})

	began := time.Now()
	setPolicy(t, system, without(rights, -1))
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		return cmp.Or(works(t), healthy(t), starts.Client.Health(t.Context()))
	})
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if says(t, r.says) == nil {
			return fmt.Errorf("the doctor still says %q", r.says)
		}
		return nil
	})
	t.Logf("well again after %v", time.Since(began))
}

// says looks whether the doctor says a text.
func says(t *testing.T, text string) error {
	found := doctor(t, stack.Agent)
	if !slices.ContainsFunc(found, func(f finding) bool { return f.Level != "ok" && strings.Contains(f.What, text) }) {
		return fmt.Errorf("%q is not told: %+v", text, found)
	}
	return nil
}

// logs looks whether an agent's log says a text.
func logs(a *harness.Agent, text string) error {
	all, err := os.ReadFile(a.LogFile)
	for line := range strings.Lines(string(all)) {
		if strings.Contains(line, "[WARN]") && strings.Contains(strings.ReplaceAll(line, `\"`, `"`), text) {
			return nil
		}
	}
	return fmt.Errorf("%q is not in the log: %v\n%s", text, err, a.Tail(20))
}

// printedRights are the rights of one policy.
func printedRights(t *testing.T, system string) []printedRight {
	t.Helper()
	ran := run(t, stack.Agent, "", "doctor", "-policies", "-json", "-only", system)
	var out map[string]struct{ Rights []printedRight }
	if err := json.Unmarshal([]byte(ran.Stdout), &out); err != nil {
		t.Fatalf("read the policy: %v: %s", err, ran)
	}
	return out[system].Rights
}

// name is how docs/security.md calls the right.
func (r printedRight) name() string {
	if r.Right == "capabilities" {
		return r.Access
	}
	return fmt.Sprintf("%s %s = %s", r.Resource, r.Right, r.Access)
}

// without is a policy without one of its rights; -1: with all.
func without(rights []printedRight, one int) string {
	var order []string
	rules := map[string][]printedRight{}
	for i, r := range rights {
		if !slices.Contains(order, r.Resource) {
			order = append(order, r.Resource)
		}
		if i != one {
			rules[r.Resource] = append(rules[r.Resource], r)
		}
	}
	var text strings.Builder
	for _, resource := range order {
		var list []string
		settings := ""
		for _, r := range rules[resource] {
			if r.Right == "capabilities" {
				list = append(list, fmt.Sprintf("%q", r.Access))
			} else {
				settings += fmt.Sprintf("  %s = %q\n", r.Right, r.Access)
			}
		}
		if len(list) > 0 {
			settings = fmt.Sprintf("  capabilities = [%s]\n", strings.Join(list, ", "))
		}
		if settings == "  intentions = \"write\"\n" {
			settings = "  policy = \"read\"\n" + settings
		}
		if settings != "" {
			fmt.Fprintf(&text, "%s {\n%s}\n", resource, settings)
		}
	}
	return text.String()
}

func setPolicy(t *testing.T, system, rules string) {
	t.Helper()
	set := stack.SetNomadPolicy
	if system == "consul" {
		set = stack.SetConsulPolicy
	}
	harnesstest.Must(t, "set the policy of "+system, set(context.WithoutCancel(t.Context()), harness.AgentPolicy, rules))
}
