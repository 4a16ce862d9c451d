package devcluster

import (
	"fmt"
	"path/filepath"
)

// EnvoyTask is the HCL of a sidecar_task block that runs Envoy without Docker.
const EnvoyTask = `    driver = "raw_exec"
    config {
      command = "/bin/sh"
      # Nomad's bootstrap names its sockets below alloc/, which raw_exec, having no
      # chroot, does not see from the task's directory.
      args = ["-c", "ln -sfn ../alloc alloc; exec envoy -c $NOMAD_SECRETS_DIR/envoy_bootstrap.json -l warning --concurrency 1 --disable-hot-restart"]
    }
`

// AgentConfig is the configuration of a Wadi agent that works on this cluster. The
// queue-proxy of the folder bin and the Envoy of the tools run by raw_exec, so the
// machine needs no Docker. Services get Envoy where bridge networks work.
func (c *Cluster) AgentConfig(bin string) string {
	mesh, network := "off", "host"
	if c.Bridge {
		network = "bridge"
	}
	if c.Mesh {
		mesh = "envoy"
	}
	return fmt.Sprintf(`nomad {
  address = %q
}
consul {
  address = %q
}
queue_proxy {
  driver = "raw_exec"
  config {
    command = %q
  }
  resources {
    cpu    = 20
    memory = 64
  }
}
mesh {
  sidecar_task {
`+EnvoyTask+`    resources {
      cpu    = 20
      # It idles at 45 MB, and is killed beyond this: with 64, by some hundred
      # connections at once.
      memory = 128
    }
    shutdown_delay = "1s"
  }
}
defaults {
  mesh    = %q
  network = %q
}
`, c.NomadAddr, c.ConsulAddr, filepath.Join(bin, "queue-proxy"), mesh, network)
}

// Existing describes a cluster that runs already and is not Wadi's. Its services begin
// without the mesh: whether its clients have CNI plugins is not known.
func Existing(nomad, consul string) *Cluster {
	return &Cluster{
		NomadAddr: nomad, ConsulAddr: consul, HostIP: HostIP(),
		WhyNot: "whether its nodes have CNI plugins and Envoy is not known; where they do, set network = \"bridge\" and mesh = \"envoy\" in a service, or in the defaults block of a file for -config",
	}
}
