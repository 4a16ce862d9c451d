package harness

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	consul "github.com/hashicorp/consul/api"
	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/internal/devcluster"
)

// Management is the secret of the token with all rights, in Nomad and in Consul, of a stack
// with ACLs.
const Management = devcluster.Management

// AgentPolicy is the name of the policies of the agents' tokens, in Nomad and in Consul.
const AgentPolicy = "wadi"

// Tokens are the secrets of a token in Nomad and of one in Consul.
type Tokens struct{ Nomad, Consul string }

// Policies are a policy in Nomad and one in Consul, as HCL.
type Policies struct{ Nomad, Consul string }

// LeastPolicies are those of the agents' tokens: what `wadi doctor -policies` prints with
// these flags.
func (s *Stack) LeastPolicies(ctx context.Context, flags ...string) (p Policies, err error) {
	for system, text := range map[string]*string{"nomad": &p.Nomad, "consul": &p.Consul} {
		var stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, filepath.Join(s.Bin, "wadi"), append([]string{"doctor", "-policies", "-only", system}, flags...)...)
		cmd.Stderr, cmd.Env = &stderr, cleanEnv()
		out, err := cmd.Output()
		if err != nil {
			return p, fmt.Errorf("print the policy of %s: %w: %s", system, err, stderr.String())
		}
		*text = string(out)
	}
	return p, nil
}

// allowAgents makes the tokens of the agents, with the least policies.
func (s *Stack) allowAgents(ctx context.Context, flags []string) error {
	p, err := s.LeastPolicies(ctx, flags...)
	if err != nil {
		return err
	}
	if err := s.SetNomadPolicy(ctx, AgentPolicy, p.Nomad); err != nil {
		return err
	}
	if err := s.SetConsulPolicy(ctx, AgentPolicy, p.Consul); err != nil {
		return err
	}
	ofNomad, err := s.NomadToken(ctx, AgentPolicy, AgentPolicy)
	if err != nil {
		return err
	}
	ofConsul, err := s.ConsulToken(ctx, AgentPolicy, AgentPolicy)
	if err != nil {
		return err
	}
	s.AgentTokens = Tokens{Nomad: ofNomad.SecretID, Consul: ofConsul.SecretID}
	return nil
}

// SetNomadPolicy makes a policy in Nomad, or changes its rules.
func (s *Stack) SetNomadPolicy(ctx context.Context, name, rules string) error {
	_, err := s.Nomad.ACLPolicies().Upsert(&nomad.ACLPolicy{Name: name, Rules: rules}, (&nomad.WriteOptions{}).WithContext(ctx))
	if err != nil {
		return fmt.Errorf("write nomad's policy %s: %w", name, err)
	}
	return nil
}

// SetConsulPolicy makes a policy in Consul, or changes its rules. Consul's client agent
// judges by the old rules for up to a second more.
func (s *Stack) SetConsulPolicy(ctx context.Context, name, rules string) error {
	p, _, err := s.Consul.ACL().PolicyReadByName(name, (&consul.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return fmt.Errorf("read consul's policy %s: %w", name, err)
	}
	write := s.Consul.ACL().PolicyCreate
	if p != nil {
		write = s.Consul.ACL().PolicyUpdate
	} else {
		p = &consul.ACLPolicy{Name: name}
	}
	p.Rules = rules
	if _, _, err := write(p, (&consul.WriteOptions{}).WithContext(ctx)); err != nil {
		return fmt.Errorf("write consul's policy %s: %w", name, err)
	}
	return nil
}

// NomadToken makes a token in Nomad with policies.
func (s *Stack) NomadToken(ctx context.Context, name string, policies ...string) (*nomad.ACLToken, error) {
	t, _, err := s.Nomad.ACLTokens().Create(&nomad.ACLToken{Name: name, Type: "client", Policies: policies}, (&nomad.WriteOptions{}).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("make the nomad token %s: %w", name, err)
	}
	return t, nil
}

// ConsulToken makes a token in Consul with policies.
func (s *Stack) ConsulToken(ctx context.Context, name string, policies ...string) (*consul.ACLToken, error) {
	var links []*consul.ACLLink
	for _, p := range policies {
		links = append(links, &consul.ACLLink{Name: p})
	}
	t, _, err := s.Consul.ACL().TokenCreate(&consul.ACLToken{Description: name, Policies: links}, (&consul.WriteOptions{}).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("make the consul token %s: %w", name, err)
	}
	return t, nil
}

// config is the part of an agent's configuration about its tokens.
func (t Tokens) config() string {
	return fmt.Sprintf("nomad {\n  token = %q\n}\nconsul {\n  token = %q\n}\n", t.Nomad, t.Consul)
}
