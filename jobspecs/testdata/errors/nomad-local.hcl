# ask nomad
locals {
  broken = nosuch(1) # Only the instance needs it.
}
service "one" {
  instance {
    task "web" {
      driver = "docker"
      config {
        image = local.broken
      }
    }
  }
}
