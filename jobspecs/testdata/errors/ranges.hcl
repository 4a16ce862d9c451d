service "low" {
  namespace   = "my space"
  datacenters = []
  node_pool   = ""
  priority    = 0
  port        = 0
  protocol    = "http3"
  visibility  = "secret"
  network     = "cni"
  mesh        = "native"
  instance {}
  serving_task = ""
  probe {
    http    = "/a b"
    timeout = "1ms"
  }
  concurrency {
    limit = -1
  }
  timeout {
    request        = "0s"
    response_start = "-1s"
    progress       = "100ms"
  }
  queue {
    depth   = 0
    timeout = "0s"
    quiet   = ["/a?b", "c", "/d%20e", "/f", "/f"]
  }
  scale {
    min                     = -1
    activation              = 0
    window                  = "5s"
    panic_window_percent    = 0
    panic_threshold_percent = 100
    max_up_rate             = 1
    max_down_rate           = 0.5
    down_delay              = "-1s"
    metric "rps" {
      target      = 0
      utilization = 0
    }
  }
  retention {
    keep = -1
  }
}
service "high" {
  datacenters = ["dc1", " "]
  priority    = 101
  port        = 65536
  instance {}
  upstream "Billing" {
    local_port = 70000
  }
  probe {
    http    = "/a$${NOMAD_ALLOC_ID}"
    timeout = "2m"
  }
  timeout {
    request = "2h"
    idle    = "2h"
  }
  queue {
    quiet = ["/\u0001"]
  }
  scale {
    min                     = 101
    max                     = 101
    window                  = "61m"
    panic_window_percent    = 101
    panic_threshold_percent = 1001
    max_up_rate             = 1e7
    manual_hold             = "25h"
    metric "concurrency" {
      utilization = 1.1
    }
  }
}
service "fraction" {
  instance {}
  scale {
    window = "6500ms"
  }
}
service "ports-1" {
  instance {}
  port = 8012
}
service "ports-2" {
  instance {}
  port = 19001
}
service "burst-1" {
  instance {}
  scale {
    burst_capacity = -2
  }
}
service "burst-2" {
  instance {}
  scale {
    burst_capacity = -0.5
  }
}
