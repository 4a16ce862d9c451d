# vars: token=m4rk3r
# ask nomad
variable "token" {
  type = string
}
variable "by_default" {
  default = "m4rk3r"
}
locals {
  password = "m4rk${"3r"}"
}
service "hello" {
  serving_task = "block"
  meta = {
    deploy_token = "m4rk3r"
    team         = "shop"
  }
  probe {
    http = "/health?token=m4rk3r"
  }
  instance {
    volume "data" {
      type            = "csi"
      source          = "data"
      attachment_mode = "file-system"
      access_mode     = "single-node-writer"
      mount_options {
        mount_flags = ["ro", "username=u,password=m4rk3r"]
      }
    }
    task "block" {
      driver = "docker"
      config {
        image = "registry.example/web:1"
        auth {
          username = "me"
          password = "m4rk3r"
        }
      }
      env {
        DB_PASSWORD = "m4rk3r"
        FINE        = "${secret.db.password}"
      }
      artifact {
        source = "https://example.com/fine"
      }
      artifact {
        source = "git::https://me:${var.token}@example.com/x"
        options {
          sshkey = "m4rk3r"
        }
        headers {
          Authorization = "Bearer m4rk3r"
        }
      }
      template {
        destination = "secrets/key.pem"
        data        = <<-EOF
          -----BEGIN PRIVATE KEY-----
          m4rk3rm4rk3rm4rk3rm4rk3rm4rk3rm4rk3rm4rk3r
          -----END PRIVATE KEY-----
        EOF
      }
    }
    task "map" {
      driver = "podman"
      lifecycle {
        hook = "prestart"
      }
      config {
        image = "me:m4rk3r@registry.example/web:1"
        auth = {
          username = "me"
          password = var.by_default
        }
      }
    }
    task "dynamic" {
      driver = "docker"
      lifecycle {
        hook = "prestart"
      }
      config {
        image = "registry.example/web:1"
        dynamic "auth" {
          for_each = [local.password]
          content {
            password = auth.value
          }
        }
      }
    }
    task "referred" {
      driver = "docker"
      lifecycle {
        hook = "prestart"
      }
      config {
        image = "registry.example/web:1"
        auth {
          password = "${LOGIN}"
        }
      }
      env {
        LOGIN = base64encode(var.token)
      }
    }
    task "fine" {
      driver = "docker"
      lifecycle {
        hook = "prestart"
      }
      config {
        image = "registry.example/web:1"
        auth {
          username       = "me"
          server_address = "registry.example"
          password       = "${REGISTRY_PASSWORD}"
        }
        auth_soft_fail = true
      }
      secret "db" {
        provider = "nomad"
        path     = "nomad/jobs"
      }
      template {
        destination = "secrets/env"
        env         = true
        data        = "REGISTRY_PASSWORD={{ with nomadVar \"nomad/jobs\" }}{{ .password }}{{ end }}"
      }
    }
  }
}
