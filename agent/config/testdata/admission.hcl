queue_proxy {
  driver = "docker"
}
admission "policy" {
  url        = "http://policy.example.com/admit?key=secret"
  kind       = "check"
  on_failure = "allow"
  timeout    = "1m"
  ca_file    = "/nowhere/ca.pem"
  cert_file  = "/nowhere/cert.pem"
}
admission "policy" {
  url = "https://policy.example.com"
}
admission "empty" {
}
admission "types" {
  url     = 5
  timeout = 2
  retries = 3
}
admission "a b" {
  url = "https://me:secret@policy.example.com"
}
admission "odd" {
  url = "ftp://policy.example.com/?key=secret"
}
admission "odder" {
  url = "https:///admit"
}
admission {
}
admission_meta {
  require = ["team", "team"]
}
admission_meta {
}
admission_tasks {
  drivers = "docker"
  images  = ["nginx"]
  tags    = ["latest"]
}
