# ask nomad
service "two" {
  instance { count = "many" }
}
service "typo" {
  /* ü */ instance {
    task "web" {
      driver = "docker"
      resources {
        cpuu   = 100
        memori = 100
      }
      kill_timeout = "soon"
    }
    restarts {
    }
  }
}
service "reads" {
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        image = file("/etc/passwd")
      }
    }
  }
}
