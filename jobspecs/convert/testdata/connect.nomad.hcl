job "countdash" {
  datacenters = ["dc1"]

  group "api" {
    network {
      mode = "bridge"
    }

    service {
      name = "count-api"
      port = "9001"

      connect {
        sidecar_service {}
      }
    }

    task "web" {
      driver = "docker"
      config {
        image = "hashicorpdev/counter-api:v3"
      }
    }
  }

  # Its service names the port by number.
  group "admin" {
    network {
      mode = "bridge"
      port "ui" {
        static = 9003
        to     = 9003
      }
    }
    service {
      name = "count-admin"
      port = "9003"
      connect {
        sidecar_service {}
      }
    }
    task "admin" {
      driver = "docker"
      config {
        image = "hashicorpdev/counter-admin:v3"
        ports = ["ui"]
      }
    }
  }

  group "dashboard" {
    network {
      mode = "bridge"
      port "http" {
        static = 9002
        to     = 9002
      }
    }

    service {
      name = "count-dashboard"
      port = "http"

      connect {
        sidecar_service {
          tags = ["dash"]
          proxy {
            upstreams {
              destination_name = "count-api"
              local_bind_port  = 8081
              datacenter       = "dc2"
            }
            config {
              protocol = "http"
            }
          }
        }
        sidecar_task {
          resources {
            cpu = 100
          }
        }
      }
    }

    task "dashboard" {
      driver = "docker"
      env {
        COUNTING_SERVICE_URL = "http://${NOMAD_UPSTREAM_ADDR_count_api}"
      }
      config {
        image          = "hashicorpdev/counter-dashboard:v3"
        auth_soft_fail = true
      }
    }
  }
}
