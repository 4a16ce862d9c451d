# Each by itself is good.
service "all-at-once" {
  instance {}
  rollout {
    steps             = 5
    hold              = "1m"
    max_error_percent = 1
    max_p99           = "1s"
  }
}
service "off" {
  instance {}
  rollout {
    duration = "0s"
    max_p99  = "1s"
  }
}
service "too-many" {
  instance {}
  rollout {
    duration = "10s"
    steps    = 50
  }
}
service "too-long" {
  instance {}
  rollout {
    duration = "10m"
    steps    = 10
    hold     = "2m"
  }
}
service "one-too-long" {
  instance {}
  rollout {
    duration = "10m"
    hold     = "20m"
  }
}
service "never" {
  instance {}
  timeout {
    request = "2s"
  }
  rollout {
    duration = "10m"
    max_p99  = "2s"
  }
}
service "never-fast" {
  instance {}
  rollout {
    duration = "10.5s"
    max_p99  = "10us"
  }
}
service "codes" {
  instance {}
  rollout {
    duration          = "10m"
    max_error_percent = 0.001
    error_codes       = ["500", "grpc:0", "oops", "500"]
  }
}
service "elsewhere" {
  instance {}
  traffic {
    revision = "elsewhere-00001"
  }
  rollout {
    duration = "10m"
  }
}
