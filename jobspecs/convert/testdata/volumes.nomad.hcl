locals {
  version = "2.9"
}

job "wiki" {
  datacenters = ["dc1"]
  name        = "The wiki"

  vault {
    role = "wiki"
  }

  group "wiki" {
    count = 1
    migrate { max_parallel = 1 }

    volume "data" {
      type            = "csi"
      source          = "wiki-data"
      attachment_mode = "file-system"
      access_mode     = "single-node-writer"
    }

    ephemeral_disk {
      size = 300
    }

    network {
      port "web" { to = 3000 }
    }

    task "wiki" {
      driver = "docker"
      user   = "1000"

      volume_mount {
        volume      = "data"
        destination = "/var/lib/wiki"
      }

      config {
        image   = "requarks/wiki:${local.version}"
        ports   = ["web"]
        volumes = ["local/config.yml:/wiki/config.yml"]
      }

      template {
        data        = <<EOF2
port: 3000
db: {{ with secret "secret/data/wiki" }}{{ .Data.data.db }}{{ end }}
job: {{ env "NOMAD_JOB_NAME" }}
EOF2
        destination = "local/config.yml"
        change_mode = "restart"
      }

      service {
        name     = "wiki"
        port     = "web"
        provider = "nomad"
        check {
          type     = "http"
          path     = "/healthz"
          interval = "10s"
          timeout  = "3s"
          check_restart {
            limit = 3
          }
        }
      }

      resources {
        cpu        = 500
        memory     = 512
        memory_max = 1024
      }
    }
  }
}
