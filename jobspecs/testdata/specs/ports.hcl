service "bridged" {
  instance {
    network {
      port "admin" {
        to = 9000
      }
      port "gossip" {
        static       = 7946
        host_network = "private"
      }
      port "free" {}
    }
    task "web" {
      driver = "docker"
      config {
        image = "a:1"
        args  = ["-admin", "${NOMAD_PORT_admin}"]
      }
    }
  }
}

service "hosted" {
  network = "host"
  mesh    = "off"
  instance {
    network {
      port "admin" {}
    }
    task "web" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
    }
  }
}
