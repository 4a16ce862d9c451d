service "hello" {
  instance {}
  scale {
    metric "rps" {
    }
    metric "concurrency" {
    }
    schedule "office" {
      cron = "0 8 * * *"
    }
  }
  rollout {
    duration          = "10m"
    max_error_percent = 5
    max_p99           = "1s"
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
