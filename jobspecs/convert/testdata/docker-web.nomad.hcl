# A web server behind a load balancer, as jobs on the web have it.
variable "image_tag" {
  type    = string
  default = "1.27"
}

job "docker-web" {
  region      = "global"
  datacenters = ["dc1", "dc2"] # Both halls.
  type        = "service"
  priority    = 60

  # Only on machines for the web.
  constraint {
    attribute = "${meta.role}"
    value     = "web"
  }

  update {
    max_parallel     = 1
    canary           = 1
    min_healthy_time = "10s"
    auto_revert      = true
  }

  meta {
    team = "payments"
  }

  group "web" {
    count = 3

    network {
      port "http" {
        static = 8088
        to     = 80
      }
    }

    service {
      name = "shop"
      port = "http"
      tags = [
        "traefik.enable=true",
        "traefik.http.routers.shop.rule=Host(`shop.example.com`)",
      ]

      check {
        name     = "alive"
        type     = "http"
        path     = "/healthz"
        interval = "10s"
        timeout  = "2s"
        header {
          Authorization = ["Basic x"]
        }
      }
    }

    restart {
      attempts = 2
      interval = "30m"
      delay    = "15s"
      mode     = "fail"
    }

    # The server itself.
    task "nginx" {
      driver = "docker"

      config {
        image = "nginx:${var.image_tag}"
        ports = ["http"]
      }

      resources {
        cpu    = 200
        memory = 128
      }
    }
  }
}
