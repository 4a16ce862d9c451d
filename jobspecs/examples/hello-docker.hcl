# A container image as a service. `make dev-images` puts this one into the Docker engine of this
# machine; try any other that listens on $PORT, or set `port` to where it does.
service "hello-docker" {
  port = 8080 # $PORT.

  instance {
    task "web" {
      driver = "docker"

      config {
        image = "localhost/wadi/hello:0.1" # localhost/: on this machine, so no registry is asked.
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }
  }

  probe {
    http = "/"
  }

  concurrency {
    limit = 100
  }

  scale {
    window = "15s" # After as long without a request its containers are gone, until the next one.
  }
}
