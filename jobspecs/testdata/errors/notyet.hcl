service "hello" {
  protocol = "h2c"
  instance {}
  scale {
    burst_capacity = 100
    metric "rps" {
    }
    metric "concurrency" {
    }
    schedule "office" {
      cron = "0 8 * * *"
    }
  }
  traffic {
    revision = "latest"
    percent  = 90
    tag      = "new"
  }
  traffic {
    revision = "hello-00001"
    percent  = 10
  }
  rollout {
    duration          = "10m"
    max_error_percent = 5
    max_p99           = "1s"
  }
  intentions {
    allow = ["web"]
  }
}
service "cpu" {
  instance {}
  scale {
    metric "cpu" {
      target = 80
    }
  }
}
service "lag" {
  instance {}
  scale {
    metric "lag" {
    }
  }
}
