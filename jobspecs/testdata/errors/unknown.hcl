job "hello" {
}
colour = "blue"
service "hello" {
  prot = 80
  instance {
    task "web" {}
  }
  scael {
    min = 1
  }
  scale {
    windo = "60s"
    metric {
    }
    metrik "rps" {
    }
  }
  meta {
    a = "b"
  }
  timeout = "5s"
  timeout "long" {
  }
}
service {
}
service "a" "b" {
}
instance {
}
group "a" {
}
task "web" {
}
