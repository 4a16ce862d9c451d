service "hello" {
  namespace   = 5
  datacenters = "dc1"
  priority    = "high"
  port        = 80.5
  domains     = ["a.example.com", 5]
  meta        = ["a"]
  network     = true
  instance {}
  upstream "billing" {}
  probe {
    http    = 8080
    tcp     = "maybe"
    timeout = 1
  }
  scale {
    window         = 60
    down_delay     = "soon"
    max_up_rate    = "fast"
    burst_capacity = true
    dry_run        = []
  }
  rollout {
    duration = "later"
  }
}
service "more" {
  mesh        = upper("off") + 1
  datacenters = [1 / 0]
  meta        = { a = [] }
  instance {}
}
