service "hello" {
  instance {}
  rollout {
    duration          = "10m"
    max_error_percent = 5
    max_p99           = "1s"
  }
}
