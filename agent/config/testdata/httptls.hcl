http {
  allowed_hosts = "wadi.example.com"
  tls {
    verify_client = true
  }
}
queue_proxy {
  driver = "docker"
}
