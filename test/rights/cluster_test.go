//go:build e2e

// Package rights_test runs agents and the command line on a real Nomad and a real Consul
// with ACLs. No instance runs: Nomad has no client.
package rights_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	consul "github.com/hashicorp/consul/api"
	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/internal/consul/consultest"
	"github.com/wadi-run/wadi/internal/devcluster"
	"github.com/wadi-run/wadi/internal/nomad/nomadtest"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// management is the token with all rights, in Nomad and in Consul.
const management = nomadtest.Management

// unknown is a token that does not exist.
const unknown = "5f1b6c1e-9999-4000-8000-000000000000"

// cluster is a Nomad and a Consul with ACLs, and agents on them.
type cluster struct {
	stack  *harness.Stack
	nomad  *nomad.Client
	consul *consul.Client
	tokens int
}

func start(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{}
	var err error
	agent := consultest.StartAgent(t, false, fmt.Sprintf(`acl {
		enabled        = true
		default_policy = "deny"
		tokens {
			initial_management = %q
			agent              = %[1]q
		}
	}`, management))
	c.consul, err = consul.NewClient(&consul.Config{Address: agent.URL, Token: management})
	harnesstest.Must(t, "make a client of Consul", err)
	server := nomadtest.Start(t)
	server.Namespace("other")
	c.nomad = server.API
	root, err := harness.Root()
	harnesstest.Must(t, "find the checkout", err)
	c.stack = &harness.Stack{Dir: t.TempDir(), Bin: filepath.Join(root, "bin"), Cluster: &devcluster.Cluster{
		ConsulAddr: agent.URL, NomadAddr: server.URL, HostIP: "127.0.0.1",
	}}
	return c
}

// token makes a Nomad token with a policy of these rules.
func (c *cluster) token(t *testing.T, rules string) *nomad.ACLToken {
	t.Helper()
	c.tokens++
	policy := fmt.Sprintf("p%d", c.tokens)
	_, err := c.nomad.ACLPolicies().Upsert(&nomad.ACLPolicy{Name: policy, Rules: rules}, nil)
	harnesstest.Must(t, "make a policy", err)
	token, _, err := c.nomad.ACLTokens().Create(&nomad.ACLToken{Name: policy, Type: "client", Policies: []string{policy}}, nil)
	harnesstest.Must(t, "make a token", err)
	return token
}

// rights makes or changes a Consul policy, by its ID, and returns that.
func (c *cluster) rights(t *testing.T, id, rules string) string {
	t.Helper()
	write := c.consul.ACL().PolicyCreate
	if id != "" {
		write = c.consul.ACL().PolicyUpdate
	}
	p, _, err := write(&consul.ACLPolicy{ID: id, Name: "wadi", Rules: rules}, nil)
	harnesstest.Must(t, "write a policy", err)
	return p.ID
}

// consulToken makes a Consul token with a policy.
func (c *cluster) consulToken(t *testing.T, policy string) string {
	t.Helper()
	token, _, err := c.consul.ACL().TokenCreate(&consul.ACLToken{Policies: []*consul.ACLLink{{ID: policy}}}, nil)
	harnesstest.Must(t, "make a token", err)
	return token.SecretID
}

// agent starts an agent with its own tokens.
func (c *cluster) agent(t *testing.T, name, nomadToken, consulToken string) *harness.Agent {
	t.Helper()
	a, err := c.stack.NewAgent(name, fmt.Sprintf(`nomad {
  token = %q
}
consul {
  token = %q
}
http {
  auth = "nomad"
}
`, nomadToken, consulToken))
	harnesstest.Must(t, "configure an agent", err)
	harnesstest.Must(t, "start an agent", a.Start(t.Context()))
	t.Cleanup(func() { _ = a.Kill() })
	return a
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
func (c *cluster) allPass() error {
	checks, err := c.consul.Agent().Checks()
	for _, check := range checks {
		if check.Status != consul.HealthPassing {
			return fmt.Errorf("%s is %s: %s", check.CheckID, check.Status, check.Output)
		}
	}
	return err
}
