# The configuration of agents that run as Nomad jobs. Addresses, ports and names come from
# the job, and tokens from its workload identity; agent/config/example.hcl has every setting.

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

# Without the mesh: instances have ports of their nodes, and callers come through the gateway.
defaults {
  mesh    = "off"
  network = "host"
}
