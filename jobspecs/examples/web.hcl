# A caller in the mesh: it reaches the service "hello" by its name, through its own
# Envoy, whether an instance of hello runs or not. Apply hello.hcl as well, and try
# curl http://web.wadi.localhost:8080/call/
service "web" {
  mesh = "envoy"

  upstream "hello" {
    local_port = 9191 # hello is at 127.0.0.1:9191 in each instance.
  }

  instance {
    task "web" {
      driver = "raw_exec"

      config {
        command = "hello"
      }

      env {
        UPSTREAM = "http://127.0.0.1:9191" # The example app passes /call/… on to it.
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
