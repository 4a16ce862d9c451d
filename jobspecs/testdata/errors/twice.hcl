# ask nomad
service "shop" {
  port = 8080
  port = "high"
  instance {
    task "web" {
      driver = "docker"
      driver = "exec"
      config {
        image = "a"
        image = "b"
      }
    }
  }
  scale {
    min = 1
    schedule "office" {
      cron     = "@daily"
      cron     = "@hourly"
      duration = "1h"
      min      = 500
    }
  }
  traffic {
    revision = "latest"
  }
  traffic {
    revision = "shop-00001"
    percent  = 1
    percent  = 2
  }
}
