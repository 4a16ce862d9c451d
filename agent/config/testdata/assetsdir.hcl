queue_proxy {
  driver = "raw_exec"
  config {
    command = "/opt/wadi/bin/queue-proxy"
  }
}
assets {
  url = "http://$${attr.unique.network.ip-address}:4748"
}
