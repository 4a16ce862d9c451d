//go:build e2e

package rights_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	consul "github.com/hashicorp/consul/api"
	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// management is the token with all rights, in Nomad and in Consul.
const management = harness.Management

// unknown is a token that does not exist.
const unknown = "5f1b6c1e-9999-4000-8000-000000000000"

// cluster makes tokens on the shared stack.
type cluster struct{ tokens int }

// token makes a Nomad token with a policy of these rules.
func (c *cluster) token(t *testing.T, rules string) *nomad.ACLToken {
	t.Helper()
	c.tokens++
	policy := fmt.Sprintf("%s-%d", strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())), c.tokens)
	policy = policy[max(0, len(policy)-60):]
	_, err := stack.Nomad.ACLPolicies().Upsert(&nomad.ACLPolicy{Name: policy, Rules: rules}, nil)
	harnesstest.Must(t, "make a policy", err)
	token, _, err := stack.Nomad.ACLTokens().Create(&nomad.ACLToken{Name: policy, Type: "client", Policies: []string{policy}}, nil)
	harnesstest.Must(t, "make a token", err)
	return token
}

// finding is a finding of the doctor.
type finding struct{ Level, About, What, Remedy string }

// doctor is what an agent's doctor finds.
func doctor(t *testing.T, a *harness.Agent) (all []finding) {
	t.Helper()
	ran := run(t, a, "", "doctor", "-json", "-token", management)
	var out struct{ Findings []finding }
	if err := json.NewDecoder(bytes.NewBufferString(ran.Stdout)).Decode(&out); err != nil {
		t.Fatalf("doctor: %v: %s", err, ran)
	}
	return out.Findings
}

// run runs the command line, in a folder with hello.hcl if that is not empty.
func run(t *testing.T, a *harness.Agent, hello string, args ...string) harness.Result {
	t.Helper()
	dir := t.TempDir()
	if hello != "" {
		harnesstest.Must(t, "write file", os.WriteFile(filepath.Join(dir, "hello.hcl"), []byte(hello), 0o600))
	}
	ran, err := a.Wadi(t.Context(), dir, args...)
	harnesstest.Must(t, "run wadi", err)
	return ran
}

// allPass finds out whether Consul's agent takes all checks for passing. While a token
// lacked the right, the agent could set a check to critical and not tell the servers; it
// does not try that again for a minute, and would say nothing new of an agent that hangs.
func allPass() error {
	checks, err := stack.Consul.Agent().Checks()
	for _, check := range checks {
		if check.Status != consul.HealthPassing {
			return fmt.Errorf("%s is %s: %s", check.CheckID, check.Status, check.Output)
		}
	}
	return err
}

// namespace makes a namespace of Nomad, which may be there.
func namespace(t *testing.T, name string) error {
	t.Helper()
	_, err := stack.Nomad.Namespaces().Register(&nomad.Namespace{Name: name}, nil)
	return err
}
