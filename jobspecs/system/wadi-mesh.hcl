# The configuration of agents that run as Nomad jobs, for services in Consul's mesh. Addresses,
# ports and names come from the job, and tokens from its workload identity; agent/config/example.hcl
# has every setting.

gateway {
  domain = "wadi.localhost" # A service is <name>.<domain>.
}

# The sidecar of each instance: the program that wadi-node.nomad.hcl puts on each node.
queue_proxy {
  driver = "raw_exec"
  config {
    command = "{{ env `WADI_BIN` }}/queue-proxy" # The job sets it.
  }
  resources {
    cpu    = 50
    memory = 64
  }
  logs {
    disabled = true
  }
}

# Envoy without Docker: the program is on each node's PATH. Where nodes have Docker, leave
# this block out: Nomad's own task runs Envoy's image.
mesh {
  sidecar_task {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      # Nomad's bootstrap names its sockets below alloc/, which raw_exec, having no chroot,
      # does not see from the task's directory.
      args = ["-c", "ln -sfn ../alloc alloc; exec envoy -c $NOMAD_SECRETS_DIR/envoy_bootstrap.json -l warning --concurrency 1 --disable-hot-restart"]
    }
    resources {
      cpu    = 50
      memory = 128
    }
    shutdown_delay = "1s"
  }
}

defaults {
  mesh    = "envoy"
  network = "bridge" # The nodes need CNI plugins.
}
