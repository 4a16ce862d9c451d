log_levle = "info"
queue_proxy {
  driver = "docker"
}
http {
  adress = "127.0.0.1:4747"
  limits {}
}
gatewy {
  domain = "x"
}
http {
  auth = "nomad"
}
metrics "one" {
}
