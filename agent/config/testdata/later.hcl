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
telemetry {
  otlp_endpoint = "http://127.0.0.1:4317"
}
queue_proxy {
  driver = "docker"
}
