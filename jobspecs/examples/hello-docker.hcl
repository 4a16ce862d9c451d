# A container image as a service. `make dev-images` puts this one into the Docker engine of this
# machine. For one of a registry: wadi apply -var image=nginx:1.27 -var port=80 hello-docker.hcl
variable "image" {
  type    = string
  default = "localhost/wadi/hello:0.1" # localhost: in no registry, so none is asked for it.
}

variable "port" {
  type    = number
  default = 8080 # $PORT, on which most images made for Knative or Cloud Run listen.
}

service "hello-docker" {
  port = var.port

  instance {
    task "web" {
      driver = "docker"

      config {
        image = var.image
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
