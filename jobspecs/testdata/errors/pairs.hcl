service "host" {
  network = "host"
  instance {}
}
service "host-envoy" {
  network = "host"
  mesh    = "envoy"
  instance {}
}
service "upstream-off" {
  mesh = "off"
  instance {}
  upstream "billing" {
    local_port = 9191
  }
}
service "upstream-ports" {
  instance {}
  upstream "a" {
    local_port = 8080
  }
  upstream "b" {
    local_port = 8022
  }
  upstream "c" {
    local_port = 9191
  }
  upstream "d" {
    local_port = 9191
  }
  upstream "e" {
    local_port = 19100
  }
}
service "hidden" {
  mesh       = "off"
  visibility = "mesh"
  domains    = ["hidden.example.com"]
  instance {}
}
service "grpc-probe" {
  instance {}
  probe {
    grpc = ""
  }
}
service "two-probes" {
  instance {}
  probe {
    http = "/"
    tcp  = true
  }
}
service "scale" {
  instance {}
  scale {
    min        = 5
    max        = 3
    initial    = 4
    activation = 6
  }
}
service "timeout" {
  instance {}
  timeout {
    request        = "10s"
    response_start = "11s"
    idle           = "12s"
  }
  queue {
    timeout = "13s"
  }
}
service "traffic" {
  instance {}
  traffic {
    revision = "other-00001"
  }
}
service "traffic-2" {
  instance {}
  traffic {
    percent = 100
  }
}
