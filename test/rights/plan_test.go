//go:build e2e

package rights_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A plan shows what is stored: it takes the right to read besides that to submit. It is made
// with the caller's rights, whatever the agent's are.
func TestPlan_TakesTheRightToRead(t *testing.T) {
	c, file := &cluster{}, harnesstest.Hello("planned", "min = 0", "")
	for name, tt := range map[string]struct {
		rules, want string
		code        int
	}{
		"submit and read": {`namespace "default" { capabilities = ["submit-job", "read-job"] }`, "+   Service: \"planned\"", 1},
		"submit":          {`namespace "default" { capabilities = ["submit-job"] }`, `takes read-job in namespace "default"`, 255},
		"read":            {`namespace "default" { capabilities = ["read-job"] }`, "submit-job", 255},
		"elsewhere":       {`namespace "other" { policy = "write" }`, `permission denied`, 255},
	} {
		ran := run(t, stack.Agent, file, "plan", "-token", c.token(t, tt.rules).SecretID, "hello.hcl")
		if ran.Code != tt.code || !strings.Contains(strings.ToLower(ran.Stdout+ran.Stderr), strings.ToLower(tt.want)) {
			t.Errorf("%s: want exit code %d and %q: %s", name, tt.code, tt.want, ran)
		}
	}
}

// Nomad checks the rights to volumes when a job is registered, not when it is planned. Wadi
// asks for them before it registers any job, so that a plan does not accept what a submission
// can't do, and a refused submission leaves nothing.
func TestPlan_RightsToVolumes(t *testing.T) {
	c := &cluster{}
	file := harnesstest.Hello("first", "min = 0", "") + strings.Replace(harnesstest.Hello("voluminous", "min = 0", ""), "instance {", `instance {
    volume "data" {
      type   = "host"
      source = "shared"
    }`, 1)
	const submit = `namespace "default" { capabilities = ["submit-job", "read-job"] }`
	without := c.token(t, submit).SecretID
	for _, args := range [][]string{{"validate"}, {"plan"}, {"apply", "-detach"}} {
		ran := run(t, stack.Agent, file, append(args, "-token", without, "hello.hcl")...)
		if ran.Code == 0 || ran.Stdout != "" || !strings.Contains(ran.Stderr, "register job voluminous-00001") || !strings.Contains(ran.Stderr, "host_volume") {
			t.Errorf("%v without the right: %s", args, ran)
		}
	}
	for _, job := range []string{"first-00001", "voluminous-00001"} {
		if _, _, err := stack.Nomad.Jobs().Info(job, nil); err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("job %s: got %v, want none", job, err)
		}
	}
	for _, policy := range []string{"write", "read"} { // The volume is not mounted read-only.
		with := c.token(t, submit+fmt.Sprintf("\nhost_volume \"shared\" { policy = %q }", policy)).SecretID
		ran := run(t, stack.Agent, file, "plan", "-token", with, "hello.hcl")
		if want := map[string]int{"write": 1, "read": 255}[policy]; ran.Code != want {
			t.Errorf("plan with the right to %s: want exit code %d: %s", policy, want, ran)
		}
	}
}
