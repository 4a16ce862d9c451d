gateway {
  tls {
    address  = "0.0.0.0:8080"
    redirect = "perhaps"
    ca_file  = "ca.pem"
  }
}
consul {
  allow_intentions = "sometimes"
}
queue_proxy {
  driver = "docker"
}
