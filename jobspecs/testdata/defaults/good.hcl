namespace   = "web"
datacenters = ["dc1"]
priority    = 60
mesh        = "off"
network     = "host"
meta        = { owner = "platform", tier = "2" }
probe {
  http    = "/up"
  timeout = "2s"
}
concurrency {
  limit = 20
}
timeout {
  request = "30s"
}
queue {
  depth = 5
  quiet = ["/up"]
}
scale {
  window = "15s"
  metric "rps" {
    target      = 7
    utilization = 0.5
  }
  metric "memory" {
  }
  schedule "office" {
    cron     = "0 8 * * mon-fri"
    duration = "10h"
    min      = 2
  }
}
retention {
  keep = 2
}
