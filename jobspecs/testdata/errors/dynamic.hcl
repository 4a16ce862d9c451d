# ask nomad
locals {
  name = "hello"
}
service "hello" {
  instance {
    dynamic "network" {
      for_each = ["bridge"]
      content {
        mode = network.value
      }
    }
    dynamic "scaling" {
      for_each = [1]
      content {
        max = 3
      }
    }
    dynamic "update" {
      for_each = [1]
      content {
        max_parallel = 3
      }
    }
    service {
      name = local.name
      port = "8080"
    }
    dynamic "service" {
      for_each = ["x"]
      content {
        name = service.value
        connect {
          native = true
        }
      }
    }
    dynamic "task" {
      for_each = ["queue-proxy", "web"]
      labels   = [task.value]
      content {
        driver = "raw_exec"
        leader = true
        env = {
          WADI_LISTEN = ":80"
        }
        resources {
          dynamic "network" {
            for_each = [1]
            content {
              mode = "bridge"
            }
          }
        }
      }
    }
    task "seen" {
      driver = "raw_exec"
      env    = merge({ PORT = 5 }, {})
    }
  }
  serving_task = "seen"
}
