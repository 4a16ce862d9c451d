package devcluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	consul "github.com/hashicorp/consul/api"
	"github.com/wadi-run/wadi/internal/devcluster/process"
)

// consulClientNode is the node of the client agent, in Consul.
const consulClientNode = "wadi-dev-client"

// consulPorts of one agent. A client agent does not listen on rpc.
type consulPorts struct{ http, grpc, rpc, serf int }

func (p *consulPorts) all() []*int { return []*int{&p.http, &p.grpc, &p.rpc, &p.serf} }

// setConsulAddrs sets the agent that clients use: the client agent, if there is one.
func (c *Cluster) setConsulAddrs(p ports, clientAgent bool) {
	use := p.consul
	if clientAgent {
		use = p.consulClient
	}
	c.ConsulAddr = fmt.Sprintf("http://127.0.0.1:%d", use.http)
	c.ConsulGRPC = fmt.Sprintf("127.0.0.1:%d", use.grpc)
	c.ConsulServerAddr = fmt.Sprintf("http://127.0.0.1:%d", p.consul.http)
}

// consulProcesses makes the server, and the client agent if it is wanted.
func (c *Cluster) consulProcesses(cfg Config, env []string) {
	c.Consul = &process.Process{
		Name: "consul", LogFile: c.file("consul.log"), Env: env, Ready: c.consulReady,
		Argv: []string{cfg.Tools.Consul, "agent", "-config-file", c.file("consul.hcl")},
	}
	if !cfg.ConsulClientAgent {
		return
	}
	c.ConsulClientAgent = &process.Process{
		Name: "consul client agent", LogFile: c.file("consul-client.log"), Env: env, Ready: c.consulClientReady,
		Argv: []string{cfg.Tools.Consul, "agent", "-config-file", c.file("consul-client.hcl")},
	}
}

// startConsul starts the server, then the client agent, and lets Nomad use them.
func (c *Cluster) startConsul(ctx context.Context) error {
	err := c.Consul.Start(ctx)
	if err == nil && c.ConsulClientAgent != nil {
		err = c.ConsulClientAgent.Start(ctx)
	}
	if err == nil {
		err = c.allowNomad(ctx)
	}
	return err
}

func (c *Cluster) consulReady(ctx context.Context) error {
	client, err := consul.NewClient(&consul.Config{Address: c.ConsulServerAddr, Token: c.token()})
	if err != nil {
		return err
	}
	leader, err := client.Status().LeaderWithQueryOptions((&consul.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return err
	}
	if leader == "" {
		return errors.New("no leader yet")
	}
	return nil
}

// consulClientReady returns nil when the server has the client agent as a healthy node.
// Before that no answer contains its services.
func (c *Cluster) consulClientReady(ctx context.Context) error {
	client, err := c.ConsulClient()
	if err != nil {
		return err
	}
	checks, _, err := client.Health().Node(consulClientNode, (&consul.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return err
	}
	for _, check := range checks {
		if check.CheckID == "serfHealth" && check.Status == consul.HealthPassing {
			return nil
		}
	}
	return errors.New("the server does not have it as a healthy node")
}

// consulHCL is the server's configuration.
func consulHCL(dir string, p consulPorts) string {
	return `node_name        = "wadi-dev"
server           = true
bootstrap_expect = 1
performance { raft_multiplier = 1 }
` + consulAgentHCL(filepath.Join(dir, "c"), p)
}

// consulClientHCL is the client agent's configuration. Like any client agent, it leaves
// the cluster when it is stopped, and its node and services are gone until its next start.
func consulClientHCL(dir string, p consulPorts, server consulPorts) string {
	return fmt.Sprintf(`node_name      = %q
server         = false
retry_join     = ["127.0.0.1:%d"]
retry_interval = "1s"
`, consulClientNode, server.serf) + consulAgentHCL(filepath.Join(dir, "d"), p)
}

func consulAgentHCL(data string, p consulPorts) string {
	return fmt.Sprintf(`data_dir             = %q
bind_addr            = "127.0.0.1"
client_addr          = "127.0.0.1"
disable_update_check = true
log_level            = "info"
ports {
  http     = %d
  grpc     = %d
  server   = %d
  serf_lan = %d
  serf_wan = -1
  grpc_tls = -1
  https    = -1
  dns      = -1
}
connect     { enabled = true }
ui_config   { enabled = true }
`, data, p.http, p.grpc, p.rpc, p.serf)
}
