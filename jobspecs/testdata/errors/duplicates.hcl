service "hello" {
  instance {
    task "web" {}
  }
  instance {
    task "web" {}
  }
  scale {
    min = 0
  }
  scale {
    min = 1
  }
  domains = ["a.example.com", "a.example.com"]
  upstream "billing" {
    local_port = 9191
  }
  upstream "billing" {
    local_port = 9192
  }
}
service "hello" {
  instance {}
}
service "two" {
  domains = ["two.example.com"]
  instance {}
}
service "three" {
  domains = ["two.example.com"]
  instance {}
}
service "four" {
}
