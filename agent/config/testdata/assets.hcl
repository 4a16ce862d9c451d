queue_proxy {
  driver = "docker"
  config {
    image = "wadi/queue-proxy:0.1"
  }
}
assets {
  dir  = "var/assets"
  url  = "10.0.0.5:4748/v1"
  arch = ["amd64", "x86_64", "amd64"]
}
