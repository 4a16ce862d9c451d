http {
  tls {
    cert_file = "/etc/wadi/api.pem"
  }
}
admission "policy" {
  url = "https://policy.example.com/admit"
}
admission "cost" {
}
queue_proxy {
  driver = "docker"
}
