# The job is "hello-docker": Wadi's own, "hello-docker-00001", runs on beside it until "wadi service delete hello-docker".
# The count is 2, and stays so until you change it: nothing scales it by the load, or to zero and back.
# An update is a deployment of Nomad's: one instance after the other. There are no revisions and no shares of the traffic.
# There is no queue-proxy: requests reach task "web" itself.
# Consul checks / every 5s, and takes only statuses from 200 to 299 for ready.
# Nothing limits an instance to 100 requests at a time: the app or its load balancer has to.
# Envoy aborts a request after timeout.request, as before. With the service Wadi removes what it wrote into Consul about it, such as the protocol (http1) and intentions: write those that you need yourself.
# An instance that ends gets its kill_signal after shutdown_delay: the app itself has to finish its requests, within its kill_timeout.
# The gateway has no route to this job: a load balancer of yours has to, for its domains and certificates too.
# The variables WADI_SERVICE and WADI_REVISION are not set; K_SERVICE, K_REVISION and K_CONFIGURATION are as they were.
job "hello-docker" {
  namespace   = "default"
  type        = "service"
  priority    = 50
  datacenters = ["*"]
  node_pool   = "default"

  group "instance" {
    count          = 2
    shutdown_delay = "2s"

    task "web" {
      driver = "docker"

      config {
        image = "localhost/wadi/hello:0.1"
      }

      env {
        K_CONFIGURATION = "hello-docker"
        K_REVISION      = "hello-docker-00001"
        K_SERVICE       = "hello-docker"
        PORT            = "8080"
      }

      resources {
        cpu    = 100
        memory = 64
      }

      logs {
        max_files     = 2
        max_file_size = 4
      }
    }

    restart {
      interval = "1m0s"
      attempts = 3
      delay    = "1s"
      mode     = "fail"
    }

    reschedule {
      delay          = "5s"
      delay_function = "exponential"
      max_delay      = "1m0s"
      unlimited      = true
    }

    ephemeral_disk {
      size = 10
    }

    network {
      mode = "bridge"
    }

    service {
      name     = "hello-docker"
      port     = "8080"
      provider = "consul"

      check {
        name     = "ready"
        type     = "http"
        path     = "/"
        expose   = true
        interval = "5s"
        timeout  = "1s"
      }

      connect {
        sidecar_service {
          proxy {
            config {
              local_idle_timeout_ms    = 305000
              local_request_timeout_ms = 305000
            }
          }
        }

        sidecar_task {
          driver         = "raw_exec"
          shutdown_delay = "1s"

          config {
            args    = ["-c", "exec envoy"]
            command = "/bin/sh"
          }

          logs {
            max_files     = 2
            max_file_size = 4
          }
        }
      }
    }
  }
}
