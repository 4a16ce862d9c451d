service "greeter" {
  protocol = "grpc"
  mesh     = "envoy"
  network  = "bridge"
  instance {
    task "server" {
      driver = "docker"
      config {
        image = "greeter:1"
      }
    }
  }
  upstream "stock" {
    local_port = 9191
  }
  probe {
    grpc = ""
  }
  timeout {
    request = "10m"
  }
}
