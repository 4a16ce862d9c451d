log_level = "loud"
name      = "a b"
advertise = "0.0.0.0"
http {
  address = "0.0.0.0:4747"
  auth    = "none"
}
metrics {
  address = "example.com:4748"
}
gateway {
  address         = "127.0.0.1:4747"
  domain          = "Apps.Example.com"
  trusted_proxies = ["10.0.0.0/8", "10.0.0"]
}
activator {
  address           = "0.0.0.0:70000"
  max_waiting       = 0
  max_waiting_bytes = "1KiB"
  max_wakes         = 100000
}
nomad {
  address = "nomad.example.com/?x=1"
  ca_file = "/nowhere/ca.pem"
}
consul {
  address  = "ftp://consul"
  prefix   = "/wadi/"
  key_file = "/dev/null"
}
queue_proxy {
  driver = "docker"
}
limits {
  max_instances       = 10001
  max_request_timeout = "25h"
  max_spec_bytes      = "1GiB"
}
retention {
  max = 0
}
images {
  docker_config       = "/nowhere/docker.json"
  timeout             = "1h"
  ca_file             = "/"
  certs_dir           = "/dev/null"
  allow_networks      = ["10.0.0.0/99"]
  insecure_registries = ["http://registry.example.com"]
}
