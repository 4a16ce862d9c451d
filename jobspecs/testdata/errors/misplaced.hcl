service "hello" {
  count  = 3
  image  = "a:1"
  memory = 64
  min    = 1
  type   = "batch"
  region = "eu"
  limit  = 5
  tags   = ["a"]
  task "web" {
  }
  env {
    A = "b"
  }
  constraint {
    attribute = "x"
  }
  vault {
  }
  network {
    port "http" {}
  }
  group "a" {
  }
  update {
  }
  scaling {
  }
  connect {
  }
  check {
  }
  schedule "x" {
  }
  locals {
  }
  instance {
    task "web" {
    }
  }
  scale {
    count    = 2
    target   = 5
    cpu      = 50
    cooldown = "5m"
  }
  concurrency {
    target = 5
  }
  probe {
    path     = "/"
    port     = 80
    interval = "5s"
  }
  timeout {
    queue = "5s"
  }
  retention {
    days = 5
  }
}
