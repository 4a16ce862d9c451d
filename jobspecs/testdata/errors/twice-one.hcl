# ask nomad
service "shop" {
  instance {
    task "web" {
      driver = "docker"
      driver = "exec"
    }
  }
}
