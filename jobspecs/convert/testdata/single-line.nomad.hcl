job "tiny" {
  group "g" {
    count = 0
    update { max_parallel = 1 }
    task "app" {
      driver = "raw_exec"
      config { command = "app" }
      env = { PORT = "9000", K_SERVICE = "x", GREETING = "hi" }
      resources {
        cpu = 100
        network {
          mbits = 10
        }
      }
    }
  }
}
