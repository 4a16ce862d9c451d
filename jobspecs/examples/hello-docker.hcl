# A container image as a service: wadi apply -var image=nginx:1.27 hello-docker.hcl
variable "image" {
  type    = string
  default = "nginx:1.27"
}

service "hello-docker" {
  port = 80 # Where nginx listens. Most images made for Knative or Cloud Run take $PORT.

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
}
