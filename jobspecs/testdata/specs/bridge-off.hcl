service "plain" {
  mesh = "off"
  instance {
    ephemeral_disk {
      size = 200
    }
    task "web" {
      driver = "raw_exec"
      config { command = "hello" }
    }
  }
  rollout {
    duration          = "10m"
    steps             = 5
    hold              = "30s"
    max_error_percent = 0.5
    max_p99           = "250ms"
    error_codes       = ["5xx", "429"]
  }
  scale {
    burst_capacity = 0
  }
  probe {
    tcp = true
  }
}
