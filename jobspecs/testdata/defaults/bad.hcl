mesh    = "maybe"
network = "host"
domains = ["a.example.com"]
scale {
  window = "1s"
  min    = 10001
}
instance {
}
timeout {
  request = "25h"
  idle    = "10m"
}
