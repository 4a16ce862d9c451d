package devcluster

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"

	consul "github.com/hashicorp/consul/api"
	nomad "github.com/hashicorp/nomad/api"
)

// Management is the secret of the token with all rights, in Nomad and in Consul, of a
// cluster with ACLs. It is no secret: such a cluster is for tests, on loopback.
const Management = "2b778dd9-f5f1-6f29-b4b4-9a5fa948757a"

// nomadsToken is the secret of the token in Consul with which Nomad's agents register
// themselves.
const nomadsToken = "7d3c5f0a-4f0e-4b8e-9d0a-6d2f6b1a9c11"

// nomadsRules are the rights of that token.
const nomadsRules = `agent_prefix "" { policy = "read" }
node_prefix "" { policy = "read" }
service_prefix "" { policy = "write" }
`

// token is the token of the cluster's own calls; empty without ACLs.
func (c *Cluster) token() string {
	if c.ACLs {
		return Management
	}
	return ""
}

// consulACLHCL is the part of the configuration of Consul's agents about ACLs.
func (c *Cluster) consulACLHCL() string {
	if !c.ACLs {
		return ""
	}
	return fmt.Sprintf(`acl {
  enabled        = true
  default_policy = "deny"
  tokens {
    initial_management = %q
    agent              = %[1]q
  }
  token_ttl  = "1s" # Client agents judge by old rules for as long.
  policy_ttl = "1s"
  role_ttl   = "1s"
}
`, Management)
}

// nomadACLHCL is the part of the configuration of Nomad's agents about ACLs.
func (c *Cluster) nomadACLHCL() string {
	if !c.ACLs {
		return ""
	}
	return `acl {
  enabled    = true
  token_ttl  = "1s" # Client agents judge by old rules for as long.
  policy_ttl = "1s"
  role_ttl   = "1s"
}
`
}

// nomadConsulACLHCL is the inside of Nomad's consul block about ACLs: its own token, and
// that tasks and services have workload identities.
func (c *Cluster) nomadConsulACLHCL() string {
	if !c.ACLs {
		return ""
	}
	return fmt.Sprintf(`  token = %q
  service_identity {
    aud = ["consul.io"]
    ttl = "1h"
  }
  task_identity {
    aud = ["consul.io"]
    ttl = "1h"
  }
`, nomadsToken)
}

// bootstrapNomad makes the management token in Nomad, once it has a leader.
func (c *Cluster) bootstrapNomad(ctx context.Context) error {
	if !c.ACLs {
		return nil
	}
	client, err := c.server()
	if err != nil {
		return err
	}
	_, _, err = client.ACLTokens().BootstrapOpts(Management, (&nomad.WriteOptions{}).WithContext(ctx))
	if err != nil && strings.Contains(err.Error(), "already done") {
		return nil
	}
	if err != nil {
		return fmt.Errorf("bootstrap nomad's ACLs: %w", err)
	}
	return nil
}

// allowNomad makes the token of Nomad's agents in Consul.
func (c *Cluster) allowNomad(ctx context.Context) error {
	if !c.ACLs {
		return nil
	}
	client, err := c.ConsulClient()
	if err != nil {
		return err
	}
	w := (&consul.WriteOptions{}).WithContext(ctx)
	policy, _, err := client.ACL().PolicyCreate(&consul.ACLPolicy{Name: "nomad-agents", Rules: nomadsRules}, w)
	if err != nil {
		return fmt.Errorf("make the policy of nomad's agents: %w", err)
	}
	_, _, err = client.ACL().TokenCreate(&consul.ACLToken{
		SecretID: nomadsToken, Description: "Nomad's agents", Policies: []*consul.ACLLink{{ID: policy.ID}},
	}, w)
	if err != nil {
		return fmt.Errorf("make the token of nomad's agents: %w", err)
	}
	return nil
}

// setupConsul has Nomad's own command set up Consul for workload identities, as an operator
// does: an auth method, its binding rules, and a role for tasks.
func (c *Cluster) setupConsul(ctx context.Context) error {
	if !c.ACLs {
		return nil
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, c.Nomad.Argv[0], "setup", "consul", "-y", "-jwks-url="+c.NomadServerAddr+"/.well-known/jwks.json")
	cmd.Env = append(c.Nomad.Env[:len(c.Nomad.Env):len(c.Nomad.Env)], "CONSUL_HTTP_ADDR="+c.ConsulServerAddr, "CONSUL_HTTP_TOKEN="+Management)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("set up consul for workload identities: %w:\n%s", err, out.String())
	}
	return nil
}
