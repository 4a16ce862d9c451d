http {
  tls {
    cert_file = "/etc/wadi/api.pem"
  }
}
gateway {
  tls {
    address = "0.0.0.0:8443"
  }
}
consul {
  allow_intentions = true
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
