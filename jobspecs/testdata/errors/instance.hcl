# ask nomad
service "hello" {
  instance {
    count          = 3
    shutdown_delay = "5s"
    scaling {
      max = 5
    }
    update {
      max_parallel = 1
    }
    network {
      mode = "bridge"
    }
    service {
      name = "hello"
      port = "8080"
      connect {
        sidecar_service {}
      }
    }
    task "queue-proxy" {
      driver = "raw_exec"
    }
    task "connect-proxy-hello" {
      driver = "raw_exec"
    }
    task "web" {
      driver = "raw_exec"
      leader = true
      kind   = "connect-proxy:hello"
      env {
        PORT         = 80
        WADI_SERVICE = "x"
        K_REVISION   = "x"
        FINE         = "yes"
      }
      service {
        name = "hello"
      }
      resources {
        network {
          port "http" {}
        }
      }
    }
    task "other" {
      leader = false
      driver = "raw_exec"
      env = {
        "PORT"          = "80"
        K_SERVICE       = "x"
        K_CONFIGURATION = "x"
      }
    }
  }
  serving_task = "web"
}
