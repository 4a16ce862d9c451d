# Puts wadi and queue-proxy into a folder of each node, from the release archive: instances
# run queue-proxy from there, and so do agents, unless they fetch the archive themselves.
# Run it again with the next release. It stays on each node, asleep, so that nodes that join
# later get the programs as well: Nomad runs sysbatch jobs only on the nodes of the moment.
#
#   nomad job run -var release=URL wadi-node.nomad.hcl
#   nomad job run -var release=URL -var remove=true wadi-node.nomad.hcl   # takes them away

variable "release" {
  description = "URL of the release archive; $${attr.cpu.arch} in it is the node's."
  type        = string
}

variable "checksum" {
  description = "Of the archive: sha256:…, or file:URL of the release's checksums file. Empty: it is not checked."
  type        = string
  default     = ""
}

variable "bin" {
  description = "The folder on the nodes."
  type        = string
  default     = "/opt/wadi/bin"
}

variable "remove" {
  description = "Takes the programs away instead."
  type        = bool
  default     = false
}

variable "namespace" {
  description = "Nomad's namespace of this job."
  type        = string
  default     = "default"
}

variable "datacenters" {
  description = "Nomad's datacenters."
  type        = list(string)
  default     = ["*"]
}

variable "node_pool" {
  description = "Nomad's node pool: that of the services' nodes; all: every node."
  type        = string
  default     = "default"
}

job "wadi-node" {
  type        = "system"
  namespace   = var.namespace
  datacenters = var.datacenters
  node_pool   = var.node_pool
  priority    = 90

  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  update {
    max_parallel     = 10
    health_check     = "task_states"
    min_healthy_time = "1s"
  }

  group "install" {
    task "install" {
      driver = "raw_exec"

      artifact {
        source      = var.checksum == "" ? var.release : "${var.release}?checksum=${var.checksum}"
        destination = "local/release"
      }

      # A file is replaced by a rename: running programs keep theirs.
      config {
        command = "/bin/sh"
        args = ["-ec", <<-EOT
          if [ "$1" = true ]; then
            rm -f "$0/wadi" "$0/queue-proxy"
            rmdir "$0" 2>/dev/null || true
          else
            mkdir -p "$0"
            for program in wadi queue-proxy; do
              install -m 755 "local/release/$program" "$0/.$program.new"
              mv -f "$0/.$program.new" "$0/$program"
            done
          fi
          exec sleep infinity
        EOT
        , var.bin, "${var.remove}"]
      }

      logs {
        disabled = true # Saves a process of 16 MB.
      }

      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
