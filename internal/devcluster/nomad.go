package devcluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	nomad "github.com/hashicorp/nomad/api"
	"github.com/wadi-run/wadi/internal/devcluster/process"
)

// frontPool is the node pool of the client agent, which no job uses.
const frontPool = "wadi-dev-front"

// nomadPorts of one agent. A client agent does not listen on rpc and serf.
type nomadPorts struct{ http, rpc, serf int }

func (p *nomadPorts) all() []*int { return []*int{&p.http, &p.rpc, &p.serf} }

// setNomadAddrs sets the agent that clients use: the client agent, if there is one.
func (c *Cluster) setNomadAddrs(p ports, clientAgent bool) {
	use := p.nomad
	if clientAgent {
		use = p.nomadClient
	}
	c.NomadAddr = fmt.Sprintf("http://127.0.0.1:%d", use.http)
	c.NomadServerAddr = fmt.Sprintf("http://127.0.0.1:%d", p.nomad.http)
}

// nomadProcesses makes the server with the node that runs jobs, and the client agent if
// it is wanted.
func (c *Cluster) nomadProcesses(cfg Config, env []string) {
	if cfg.NomadClientAgent {
		c.NomadClientAgent = c.nomadFront(cfg.Tools.Nomad, env)
	}
	c.Nomad = &process.Process{
		Name: "nomad", LogFile: c.file("nomad.log"), Env: env, Ready: c.nomadReady,
		Argv: []string{cfg.Tools.Nomad, "agent", "-config", c.file("nomad-server.hcl"), "-config", c.file("nomad-client.hcl")},
		// By the number of the run, nomadReady distinguishes a node that has registered
		// from one that the restarted server remembers.
		PerRun: func(run int) []string { return []string{"-meta", runMeta + "=" + strconv.Itoa(run)} },
	}
}

// initNomad runs the server alone once. A node that registers before the server's
// keyring exists is refused, and tries again only 15 to 30 s later. So the server runs
// without a node first, while Consul starts: that saves 20 s.
func (c *Cluster) initNomad(ctx context.Context) error {
	first := &process.Process{
		Name: "nomad", LogFile: c.Nomad.LogFile, Env: c.Nomad.Env, Ready: c.keyringReady,
		Argv: c.Nomad.Argv[:4],
	}
	err := first.Start(ctx)
	if err == nil {
		err = c.snapshot(ctx)
	}
	if err != nil {
		return errors.Join(err, first.Kill())
	}
	return first.Stop(ctx)
}

// nomadFront is the client agent that answers in the server's place.
func (c *Cluster) nomadFront(program string, env []string) *process.Process {
	return &process.Process{
		Name: "nomad client agent", LogFile: c.file("nomad-front.log"), Env: env, Ready: c.nomadFrontReady,
		Argv: []string{program, "agent", "-config", c.file("nomad-front.hcl")},
	}
}

// nomadFrontReady returns nil when the client agent reaches the server.
func (c *Cluster) nomadFrontReady(ctx context.Context) error {
	client, err := c.NomadClient()
	if err != nil {
		return err
	}
	var leader string
	if _, err := client.Raw().Query("/v1/status/leader", &leader, (&nomad.QueryOptions{}).WithContext(ctx)); err != nil {
		return err
	}
	if leader == "" {
		return errors.New("no leader yet")
	}
	return nil
}

// server returns a client of the server's own agent.
func (c *Cluster) server() (*nomad.Client, error) {
	client, err := nomad.NewClient(&nomad.Config{Address: c.NomadServerAddr, SecretID: c.token()})
	if err != nil {
		return nil, fmt.Errorf("make nomad client: %w", err)
	}
	return client, nil
}

func nomadServerHCL(c *Cluster, p nomadPorts) string {
	return nomadAgentHCL("wadi-dev", filepath.Join(c.Dir, "n"), p) + `server {
  enabled          = true
  bootstrap_expect = 1
  raft_multiplier  = 1
}
ui {
  enabled = true
  label {
    text             = "wadi dev"
    background_color = "#2f6f9f"
    text_color       = "#ffffff"
  }
}
`
}

func nomadFrontHCL(c *Cluster, p, server nomadPorts) string {
	return nomadAgentHCL("wadi-dev-front", filepath.Join(c.Dir, "f"), p) + fmt.Sprintf(`client {
  enabled               = true
  servers               = ["127.0.0.1:%d"]
  node_pool             = %q
  network_interface     = "lo"
  cpu_disable_dmidecode = true
  options = {
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean,vault,consul"
    "driver.denylist"      = "docker,java,qemu,exec,raw_exec"
  }
}
limits {
  http_max_conns_per_client = 400 # Agent, tests and people are one address.
}
`, server.rpc, frontPool)
}

func nomadAgentHCL(name, data string, p nomadPorts) string {
	return fmt.Sprintf(`name                 = %q
data_dir             = %q
bind_addr            = "127.0.0.1"
disable_update_check = true
log_level            = "info"
ports {
  http = %d
  rpc  = %d
  serf = %d
}
advertise {
  http = "127.0.0.1:%[3]d"
  rpc  = "127.0.0.1:%[4]d"
  serf = "127.0.0.1:%[5]d"
}
`, name, data, p.http, p.rpc, p.serf)
}
