# ask nomad
service "hosts" {
  serving_task = "web"
  instance {
    task "web" {
      driver = "docker"
      config {
        image       = "web:1"
        extra_hosts = ["db:10.0.0.1", "cache:${FROM_TEMPLATE}", "${WADI_SERVICE}:10.0.0.9"]
      }
    }
    task "log" {
      driver = "docker"
      config {
        image       = "log:1"
        extra_hosts = ["db:10.0.0.2"]
      }
    }
  }
}
