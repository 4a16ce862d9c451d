package nodes

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	consulPort = 8500
	nomadPort  = 4646
)

// writeConfigs writes the configuration files of all agents.
func (c *Cluster) writeConfigs(o Options, cni string) error {
	files := map[string]string{
		"server-consul.hcl": consulHCL(c.Server, c.slot.Dir, "0.0.0.0") +
			"server = true\nbootstrap_expect = 1\nperformance { raft_multiplier = 1 }\nui_config { enabled = true }\n",
		"server-nomad.hcl": nomadHCL(c.Server, c.slot.Dir) + fmt.Sprintf(`server {
  enabled           = true
  bootstrap_expect  = 1
  raft_multiplier   = 1
  min_heartbeat_ttl = "1s"
  heartbeat_grace   = %q
}
`, cmp.Or(o.HeartbeatGrace, time.Second).String()),
	}
	for i, n := range c.Nodes {
		cniPath, err := c.slot.OwnLeases(cni, n.Name)
		if err != nil {
			return err
		}
		more := ""
		if o.ClientHCL != nil {
			more = o.ClientHCL(i)
		}
		files[n.Name+"-consul.hcl"] = consulHCL(n, c.slot.Dir, "127.0.0.1") +
			fmt.Sprintf("server = false\nretry_join = [%q]\nretry_interval = \"1s\"\n", serverAddr)
		files[n.Name+"-nomad.hcl"] = nomadHCL(n, c.slot.Dir) + clientHCL(cniPath, filepath.Join(c.slot.Dir, n.Name+"-m"), c.slot.Subnets()[i], more)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(c.slot.Dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
	}
	return nil
}

// consulHCL is the configuration of a node's Consul agent. A client agent that is stopped
// leaves the cluster, and one that is killed does not.
func consulHCL(n *Node, dir, listen string) string {
	return fmt.Sprintf(`node_name            = %q
data_dir             = %q
bind_addr            = %q
client_addr          = %q
disable_update_check = true
log_level            = "info"
ports {
  http     = %d
  grpc     = 8502
  grpc_tls = -1
  serf_wan = -1
  dns      = -1
}
connect { enabled = true }
`, n.Name, filepath.Join(dir, n.Name+"-c"), n.Addr, listen, consulPort)
}

// nomadHCL is the part of the configuration that a server and a client share.
func nomadHCL(n *Node, dir string) string {
	return fmt.Sprintf(`name                 = %q
data_dir             = %q
bind_addr            = "0.0.0.0"
disable_update_check = true
log_level            = "info"
advertise {
  http = %[3]q
  rpc  = %[3]q
  serf = %[3]q
}
limits {
  http_max_conns_per_client = 400 # Agent, tests and people have one address.
}
consul {
  address      = "127.0.0.1:%[4]d"
  grpc_address = "127.0.0.1:8502"
}
`, n.Name, filepath.Join(dir, n.Name), n.Addr, consulPort)
}

func clientHCL(cniPath, mounts, subnet, more string) string {
	return fmt.Sprintf(`client {
  enabled                  = true
  servers                  = ["%s:4647"]
  network_interface        = %q
  preferred_address_family = "ipv4"
  cpu_disable_dmidecode    = true
  gc_max_allocs            = 500
  cni_path                 = %q
  alloc_mounts_dir         = %q
  bridge_network_subnet    = %q
  options = {
    # They wait for metadata services that do not exist here.
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean,vault"
    "driver.denylist"      = "docker,java,qemu"
  }
%s}
telemetry {
  publish_allocation_metrics = true
}
plugin "raw_exec" {
  config { enabled = true }
}
`, serverAddr, uplink, cniPath, mounts, subnet, more)
}
