package devcluster

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// nomadClientHCL is the configuration of the node, which every start of Nomad but the
// first one has in addition to the server's.
func nomadClientHCL(c *Cluster, cfg Config, cniPath string) string {
	denied, docker := []string{"qemu"}, ""
	if !cfg.Java {
		denied = append(denied, "java")
	}
	if cfg.Docker {
		docker = dockerHCL(cfg)
	} else {
		denied = append(denied, "docker")
	}
	cni := ""
	if c.Bridge {
		cni = fmt.Sprintf("  cni_path              = %q\n  bridge_network_name   = %q\n  bridge_network_subnet = %q\n",
			cniPath, c.slot.Bridge(), c.slot.Subnet())
	}
	low, high := c.slot.DynamicPorts()
	return fmt.Sprintf(`client {
  enabled                  = true
  network_interface        = %q
  preferred_address_family = "ipv4"
  cpu_disable_dmidecode    = true
  min_dynamic_port         = %d
  max_dynamic_port         = %d
  max_kill_timeout         = %q
  gc_max_allocs            = 500
%s  options = {
    # They wait for metadata services that do not exist here.
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean,vault"
    "driver.denylist"      = %q
  }
%s}
telemetry {
  publish_allocation_metrics = true # Otherwise Nomad measures no task, and no service can scale by cpu or memory.
}
limits {
  http_max_conns_per_client = 400 # Agent, tests and people have one address.
}
plugin "raw_exec" {
  config { enabled = true }
}
consul {
  address      = %q
  grpc_address = %q
%s}
%s`, c.Interface, low, high, cmp.Or(cfg.MaxKillTimeout, 30*time.Second).String(), cni, strings.Join(denied, ","), cfg.NomadClientHCL, strings.TrimPrefix(c.ConsulAddr, "http://"), c.ConsulGRPC, c.nomadConsulACLHCL(), docker)
}

// dockerHCL configures the Docker driver. Other Nomads may use the same engine, so the
// driver removes no dangling containers. Unless it is told it removes no image either, as
// some exist nowhere else. As in Nomad's own mode for development, tasks may mount folders of the machine.
func dockerHCL(cfg Config) string {
	options := ""
	if cfg.InfraImage != "" {
		options += fmt.Sprintf("    infra_image = %q\n", cfg.InfraImage)
	}
	if cfg.DockerEndpoint != "" {
		options += fmt.Sprintf("    endpoint    = %q\n", cfg.DockerEndpoint)
	}
	if cfg.DockerLogins != "" {
		options += fmt.Sprintf("    auth { config = %q }\n", cfg.DockerLogins)
	}
	return fmt.Sprintf(`plugin "docker" {
  config {
%s    gc {
      image       = %t
      image_delay = %q
      dangling_containers { enabled = false }
    }
    volumes { enabled = true }
  }
}
`, options, cfg.DockerImageDelay > 0, cfg.DockerImageDelay.String())
}
