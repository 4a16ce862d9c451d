# ask nomad
variable "image" {
  default = "x"
  validation {
    condition     = var.image != "x"
    error_message = "The image must not be x."
  }
}
service "hello" {
  instance {
    task "web" {
      driver = "docker"
    }
  }
}
