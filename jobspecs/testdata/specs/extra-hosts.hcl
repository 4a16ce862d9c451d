# All containers of an instance in a bridge network share one hosts file: each has the
# entries of all.
service "hosts" {
  serving_task = "web"
  instance {
    task "log" {
      driver = "docker"
      config {
        image       = "log:1"
        extra_hosts = ["logs:10.0.0.3", "db:10.0.0.1"]
      }
    }
    task "web" {
      driver = "docker"
      env {
        CACHE = "10.0.0.2"
      }
      config {
        image       = "web:1"
        extra_hosts = ["db:10.0.0.1", "cache:${CACHE}", "node:${attr.unique.network.ip-address}"]
      }
    }
    task "plain" {
      driver = "raw_exec"
      config {
        command = "sleep"
        args    = ["1h"]
      }
    }
  }
}

# A host network: each has its own.
service "alone" {
  network      = "host"
  mesh         = "off"
  serving_task = "web"
  instance {
    task "web" {
      driver = "docker"
      config {
        image       = "web:1"
        extra_hosts = ["db:10.0.0.1"]
      }
    }
    task "log" {
      driver = "docker"
      config {
        image = "log:1"
      }
    }
  }
}
