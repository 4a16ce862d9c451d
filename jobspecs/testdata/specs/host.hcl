service "here" {
  mesh     = "off"
  network  = "host"
  protocol = "grpc"
  probe {
    grpc = ""
  }
  instance {
    task "web" {
      driver = "docker"
      config { image = "here:1" }
      logs {
        max_files     = 3
        max_file_size = 20
      }
    }
    task "helper" {
      driver = "docker"
      config {
        image        = "helper:1"
        network_mode = "none"
      }
    }
    reschedule {
      attempts  = 1
      interval  = "1h"
      unlimited = false
    }
  }
  serving_task = "web"
}

service "other" {
  mesh    = "off"
  network = "host"
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
      env = { A = "1" }
    }
  }
}
