job "api" {
  datacenters = ["*"]
  namespace   = "prod"

  group "api" {
    count          = 2
    shutdown_delay = "5s"

    network {
      mode = "bridge"
      port "http" {}
      port "metrics" { to = 9102 }
      dns {
        servers = ["10.0.0.2"]
      }
    }

    service {
      name = "api"
      port = "http"
      task = "app"
      check {
        type     = "tcp"
        interval = "5s"
        timeout  = "1s"
      }
    }

    service {
      name = "api-metrics"
      port = "metrics"
      tags = ["prometheus"]
    }

    task "migrate" {
      driver = "docker"
      lifecycle {
        hook    = "prestart"
        sidecar = false
      }
      config {
        image   = "registry.example.com/api:42"
        command = "migrate"
      }
    }

    task "app" {
      driver = "docker"
      leader = true
      config {
        image = "registry.example.com/api:42"
        ports = ["http", "metrics"]
        args  = ["-listen", ":${NOMAD_PORT_http}", "-advertise", "${NOMAD_ADDR_http}"]
      }
      env {
        PORT      = "${NOMAD_PORT_http}"
        LOG_LEVEL = "info"
      }
      template {
        destination = "local/app.env"
        env         = true
        data        = <<-EOT
          LISTEN=:{{ env "NOMAD_PORT_http" }}
          {{ with nomadVar "nomad/jobs/api" }}DB={{ .db }}{{ end }}
        EOT
      }
    }

    task "log-shipper" {
      driver = "docker"
      lifecycle {
        hook    = "poststart"
        sidecar = true
      }
      config { image = "fluent/fluent-bit:3.1" }
    }

    task "cache" {
      driver = "docker"
      config { image = "redis:7" }
    }
  }
}
