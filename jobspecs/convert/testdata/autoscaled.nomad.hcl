variable "min" {
  default = 2
}

job "render" {
  datacenters = ["*"]
  node_pool   = "gpu"

  affinity {
    attribute = "${node.datacenter}"
    value     = "dc1"
    weight    = 50
  }

  spread {
    attribute = "${node.unique.id}"
  }

  group "render" {
    scaling {
      enabled = true
      min     = var.min
      max     = 20
      policy {
        cooldown = "1m"
        check "cpu" {
          source = "nomad-apm"
          query  = "avg_cpu"
          strategy "target-value" {
            target = 70
          }
        }
      }
    }
    network {
      port "grpc" {}
    }
    service {
      name = "render_worker"
      port = "grpc"
      check {
        type         = "grpc"
        grpc_service = "render.Worker"
        port         = "grpc"
        interval     = "10s"
        timeout      = "2s"
      }
    }
    task "worker" {
      driver = "exec"
      artifact {
        source = "https://releases.example.com/render-1.4.tar.gz"
      }
      config {
        command = "local/render"
        args    = ["--port", "${NOMAD_PORT_grpc}"]
      }
      resources {
        cpu    = 1000
        memory = 2048
        device "nvidia/gpu" {
          count = 1
        }
      }
      kill_timeout = "30s"
    }
  }
}
