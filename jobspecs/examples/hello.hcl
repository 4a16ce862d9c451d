# The smallest service: one task that answers HTTP on $PORT. After 15 seconds
# without a request it stops; the next request starts it again.
service "hello" {
  instance {
    task "web" {
      driver = "raw_exec"

      config {
        command = "hello" # On the PATH of the Nomad client; `wadi agent -dev` has it there.
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }

  scale {
    max    = 5
    window = "15s"

    metric "concurrency" {
      target = 10 # Requests at once in one instance.
    }
  }
}
