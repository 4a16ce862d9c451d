# ask nomad
service "bridged" {
  serving_task = "web"
  instance {
    network {
      mode     = "host"
      hostname = "x"
      port "wadi_x" {}
      port "through" { to = 8012 }
      port "past" { to = 8080 }
      port "fixed" { static = 9090 }
      port "ok" { to = 8081 }
      dns {
        servers = ["1.1.1.1"]
      }
    }
    task "web" {
      driver = "raw_exec"
    }
  }
}
service "hosted" {
  network = "host"
  mesh    = "off"
  port    = 80
  instance {
    network {
      port "past" { to = 8080 }
      port "fixed" { static = 9090 }
    }
    network {
      port "other" {}
    }
    task "web" {
      driver = "raw_exec"
    }
  }
}
service "lost" {
  instance {
    scale {
      max = 3
    }
    timeout = "5s"
    task "web" {
      driver = "raw_exec"
    }
  }
}
