log_json  = "perhaps"
name      = 7
advertise = ["a"]
gateway {
  trusted_proxies = "10.0.0.0/8"
}
activator {
  max_waiting       = "many"
  max_waiting_bytes = "256 bananas"
  max_wakes         = 1.5
}
limits {
  max_request_timeout = 30
  max_spec_bytes      = true
}
retention {
  keep_for        = "a while"
  keep_active_for = "-1h"
}
nomad {
  address = var.address
}
queue_proxy {
  driver = "docker"
}
