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
    duration          = "0s"
    max_error_percent = 0
    max_p99           = "0s"
  }
  scale {
    burst_capacity = 0
  }
  probe {
    tcp = true
  }
}
