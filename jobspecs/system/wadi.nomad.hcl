# Wadi's agents as a Nomad job: one on each node, or a few behind a load balancer. Each
# serves the API, the gateway and the mesh listener, and one of them leads.
# docs/operations.md brings it up step by step.
#
#   nomad job run wadi-node.nomad.hcl              # first: the programs, on each node
#   nomad job run wadi.nomad.hcl                   # an agent on each node
#   nomad job run -var agents=2 wadi.nomad.hcl     # or two agents, on different nodes
#
# Run it in the folder of the agents' configuration, wadi.hcl. Set a variable with
# -var NAME=VALUE, or as NOMAD_VAR_NAME in the environment. The job is the same with and
# without ACLs: its rights are those of its workload identity.

variable "job" {
  description = "The name of the job. Policies name it."
  type        = string
  default     = "wadi"
}

variable "agents" {
  description = "How many agents, each on a node of its own; 0: one on each node."
  type        = number
  default     = 0
}

variable "apart" {
  description = "Each agent is on a node of its own. Set it to false on a cluster of one node, with ports of 0."
  type        = bool
  default     = true
}

variable "config" {
  description = "The agents' configuration: wadi.hcl, or wadi-mesh.hcl for services in the mesh."
  type        = string
  default     = "wadi.hcl"
}

variable "namespace" {
  description = "Nomad's namespace of this job. Policies name it."
  type        = string
  default     = "default"
}

variable "datacenters" {
  description = "Nomad's datacenters with agents."
  type        = list(string)
  default     = ["*"]
}

variable "node_pool" {
  description = "Nomad's node pool with agents."
  type        = string
  default     = "default"
}

variable "driver" {
  description = "raw_exec, or exec where the nodes' chroot_env is small."
  type        = string
  default     = "raw_exec"
}

variable "user" {
  description = "Who the agent runs as; empty: root with raw_exec, nobody with exec. It needs no rights on the node."
  type        = string
  default     = ""
}

variable "release" {
  description = "URL of the release archive; $${attr.cpu.arch} in it is the node's. Empty: the program is in the folder bin of each node."
  type        = string
  default     = ""
}

variable "checksum" {
  description = "Of the archive: sha256:…, or file:URL of the release's checksums file. Empty: it is not checked."
  type        = string
  default     = ""
}

variable "bin" {
  description = "The folder on the nodes with queue-proxy, and with wadi if release is empty."
  type        = string
  default     = "/opt/wadi/bin"
}

variable "nomad_address" {
  description = "Of Nomad. With TLS use unix://$${NOMAD_SECRETS_DIR}/api.sock: it needs no certificate, and refuses callers without a token."
  type        = string
  default     = "http://$${attr.unique.advertise.address}"
}

variable "consul_address" {
  description = "Of the node's Consul agent."
  type        = string
  default     = "http://127.0.0.1:8500"
}

variable "api_address" {
  description = "Where the API listens. Beyond 127.0.0.1 configure http { tls } in wadi.hcl."
  type        = string
  default     = "127.0.0.1"
}

variable "api_port" {
  description = "Port of the API on each node; 0: any."
  type        = number
  default     = 4747
}

variable "metrics_port" {
  description = "Port of metrics and statistics; 0: any."
  type        = number
  default     = 4748
}

variable "activator_port" {
  description = "Port of the mesh listener; 0: any."
  type        = number
  default     = 4749
}

variable "gateway_port" {
  description = "Port of the gateway; 0: any."
  type        = number
  default     = 8080
}

variable "log_level" {
  description = "trace, debug, info, warn or error."
  type        = string
  default     = "info"
}

job "wadi" {
  id          = var.job
  name        = var.job
  type        = var.agents == 0 ? "system" : "service"
  namespace   = var.namespace
  datacenters = var.datacenters
  node_pool   = var.node_pool
  priority    = 90 # The services wait for it.

  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  # One agent after the other: callers of the draining one go to the others.
  update {
    max_parallel     = 1
    health_check     = "checks"
    min_healthy_time = "5s"
    healthy_deadline = "2m"
    auto_revert      = true
  }

  group "agent" {
    count = var.agents == 0 ? 1 : var.agents

    dynamic "constraint" {
      for_each = var.agents > 0 && var.apart ? ["true"] : []
      content {
        operator = "distinct_hosts"
        value    = constraint.value
      }
    }

    network {
      port "api" {
        static = var.api_port
      }
      port "metrics" {
        static = var.metrics_port
      }
      port "activator" {
        static = var.activator_port
      }
      port "gateway" {
        static = var.gateway_port
      }
    }

    # For Nomad's deployment, and for load balancers that read Nomad's services. In Consul
    # agents register themselves.
    service {
      provider = "nomad"
      name     = "wadi-gateway"
      port     = "gateway"
      check {
        name     = "ready"
        type     = "http"
        port     = "metrics"
        path     = "/ready"
        interval = "2s"
        timeout  = "1s"
      }
    }

    restart {
      attempts = 10
      interval = "5m"
      delay    = "5s"
      mode     = "delay" # It never gives up: without agents nothing starts from zero.
    }

    # With Consul ACLs: Nomad logs in at Consul with the task's identity, and sets
    # CONSUL_HTTP_TOKEN to the token.
    consul {}

    task "agent" {
      driver = var.driver
      user   = var.user

      # With Nomad ACLs: the identity is NOMAD_TOKEN, with the rights of the policies that
      # name this job.
      identity {
        env = true
      }

      dynamic "artifact" {
        for_each = var.release == "" ? [] : [var.release]
        content {
          source      = var.checksum == "" ? artifact.value : "${artifact.value}?checksum=${var.checksum}"
          destination = "local/release"
        }
      }

      env {
        WADI_BIN = var.bin # For the configuration, which is a template.
      }

      template {
        data        = file(var.config)
        destination = "local/wadi.hcl"
        # Of a template that reads variables or secrets: a changed value is a reload.
        change_mode   = "signal"
        change_signal = "SIGHUP"
      }

      config {
        # Without a release by a shell: its failure, while the node does not have the program
        # yet, is tried again. Nomad gives up a task whose program there is not.
        command = var.release == "" ? "/bin/sh" : "local/release/wadi"
        args = concat(var.release == "" ? ["-c", "exec \"$0\" \"$@\"", "${var.bin}/wadi"] : [], [
          "agent", "-config", "${NOMAD_TASK_DIR}/wadi.hcl",
          "-name", var.agents == 0 ? "${node.unique.name}" : "${node.unique.name}-${NOMAD_ALLOC_INDEX}",
          "-log-level", var.log_level,
          "-nomad-address", var.nomad_address,
          "-consul-address", var.consul_address,
          "-http-address", "${var.api_address}:${NOMAD_PORT_api}",
          "-metrics-address", "0.0.0.0:${NOMAD_PORT_metrics}",
          "-activator-address", "0.0.0.0:${NOMAD_PORT_activator}",
          "-gateway-address", "0.0.0.0:${NOMAD_PORT_gateway}",
        ])
      }

      # A stop is a drain: up to 10 s until callers have gone elsewhere, then up to 30 s
      # for requests in flight. Nomad's clients cap it at max_kill_timeout, 30 s by default.
      kill_signal  = "SIGTERM"
      kill_timeout = "45s"

      resources {
        cpu        = 200
        memory     = 256
        memory_max = 1024 # Where Nomad's scheduler has memory oversubscription.
      }
    }
  }
}
