# vars: image=shop:2 replicas=3
variable "image" {
  type = string
}
variable "replicas" { # Wadi's side only.
  type = number
}
variable "args" {
  type    = list(string)
  default = ["-v"]
}
locals {
  cores  = 2
  listen = "${NOMAD_ALLOC_DIR}/sock" # Only Nomad knows this one.
}

service "shop" {
  namespace   = "default"
  datacenters = ["dc1", "dc2"]
  node_pool   = "all"
  priority    = 70
  port        = 3000
  domains     = ["shop.example.com"]

  instance {
    restart {
      attempts = 0
      mode     = "fail"
    }
    volume "data" {
      type      = "host"
      source    = "data"
      read_only = true
    }
    task "migrate" {
      driver = "docker"
      lifecycle {
        hook = "prestart"
      }
      config {
        image = var.image
        args  = ["migrate"]
      }
    }
    task "web" {
      driver = "docker"
      config {
        image = var.image
        args  = concat(var.args, ["-listen", local.listen, "${NOMAD_ALLOC_ID}"])
        mount {
          type   = "tmpfs"
          target = "/tmp"
        }
      }
      env {
        MODE = upper("fast")
      }
      resources {
        cpu    = 100 * local.cores
        memory = 128
      }
      kill_timeout = "20s"
      template {
        data        = <<EOT
hello {{ env "NOMAD_ALLOC_ID" }}
EOT
        destination = "local/x"
      }
      service {
        name = "shop-admin"
      }
    }
  }

  upstream "billing" {
    local_port = 9191
  }
  upstream "stock" {
    local_port = 9192
  }
  probe {
    http    = "/healthz"
    timeout = "500ms"
  }
  concurrency {
    limit = 10
  }
  timeout {
    request        = "90s"
    response_start = "30s"
    idle           = "1500ms"
  }
  queue {
    depth   = 50
    timeout = "20s"
    quiet   = ["/healthz"]
  }
  scale {
    min        = 1
    max        = max(var.replicas, 2)
    activation = 2
    window     = "30s"
    metric "rps" {
      target = 50
    }
  }
  traffic {
    revision = "shop-00004"
    percent  = 100
  }
  meta = { team = "shop", cores = local.cores }
}
