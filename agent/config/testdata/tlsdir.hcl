gateway {
  tls {
    address  = "example.com:8443"
    cert_dir = "/nowhere/certs"
  }
}
queue_proxy {
  driver = "docker"
}
