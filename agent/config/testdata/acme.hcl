gateway {
  tls {
    acme {
      agree_terms         = false
      directory           = "http://acme.example.com/directory"
      email               = "ops at example.com"
      ca_file             = "/nowhere/ca.pem"
      challenges          = ["http-01", "dns-01"]
      renew_before        = "-1s"
      max_domains         = 0
      orders_per_hour     = 100000
      encryption_key_file = "/nowhere/acme.key"
      eab_key_id          = "kid"
      domains             = ["example.com"]
    }
  }
}
queue_proxy {
  driver = "docker"
}
