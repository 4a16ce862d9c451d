http {
  allowed_hosts       = ["wadi.example.com:4747", "10.0.0.9", "a b"]
  requests_per_second = 0
  tls {
    cert_file     = "/nowhere/api.pem"
    ca_file       = "testdata"
    verify_client = "sometimes"
    redirect      = true
  }
}
queue_proxy {
  driver = "docker"
}
