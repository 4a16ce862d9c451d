# vars: count=many debug=perhaps
# ask nomad
variable "count" {
  type = number
}
variable "debug" {
  type = bool
}
variable "unset" {
}
service "only" {
  instance {
    task "web" {
      driver = "docker"
      env {
        DEBUG = var.debug
        COUNT = var.count
      }
    }
  }
}
service "both" {
  instance {
    task "web" {
      driver = "docker"
      count  = 5
      env {
        DEBUG = nosuch(1)
        COUNT = var.count
        UNSET = var.unset
      }
    }
  }
}
