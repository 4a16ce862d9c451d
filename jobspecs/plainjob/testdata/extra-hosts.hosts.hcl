# The job is "hosts": Wadi's own, "hosts-00001", runs on beside it until "wadi service delete hosts".
# The count is 2, and stays so until you change it: nothing scales it by the load, or to zero and back.
# An update is a deployment of Nomad's: one instance after the other. There are no revisions and no shares of the traffic.
# There is no queue-proxy: requests reach task "web" itself.
# Consul checks only whether Envoy listens: without the queue-proxy it can't reach a probe that is not HTTP.
# Envoy aborts a request after timeout.request, as before. With the service Wadi removes what it wrote into Consul about it, such as the protocol (http1) and intentions: write those that you need yourself.
# An instance that ends gets its kill_signal after shutdown_delay: the app itself has to finish its requests, within its kill_timeout.
# The gateway has no route to this job: a load balancer of yours has to, for its domains and certificates too.
# The variables WADI_SERVICE and WADI_REVISION are not set; K_SERVICE, K_REVISION and K_CONFIGURATION are as they were.
# $${NAME} stands for a variable that Nomad resolves where the job runs, or the app's shell.
job "hosts" {
  namespace   = "default"
  type        = "service"
  priority    = 50
  datacenters = ["*"]
  node_pool   = "default"

  group "instance" {
    count          = 2
    shutdown_delay = "2s"

    task "log" {
      driver = "docker"

      config {
        extra_hosts = ["db:10.0.0.1", "cache:10.0.0.2", "node:$${attr.unique.network.ip-address}", "logs:10.0.0.3"]
        image       = "log:1"
      }

      env {
        K_CONFIGURATION = "hosts"
        K_REVISION      = "hosts-00001"
        K_SERVICE       = "hosts"
      }

      logs {
        max_files     = 2
        max_file_size = 4
      }
    }

    task "web" {
      driver = "docker"

      config {
        extra_hosts = ["db:10.0.0.1", "cache:10.0.0.2", "node:$${attr.unique.network.ip-address}", "logs:10.0.0.3"]
        image       = "web:1"
      }

      env {
        CACHE           = "10.0.0.2"
        K_CONFIGURATION = "hosts"
        K_REVISION      = "hosts-00001"
        K_SERVICE       = "hosts"
        PORT            = "8080"
      }

      logs {
        max_files     = 2
        max_file_size = 4
      }
    }

    task "plain" {
      driver = "raw_exec"

      config {
        args    = ["1h"]
        command = "sleep"
      }

      env {
        K_CONFIGURATION = "hosts"
        K_REVISION      = "hosts-00001"
        K_SERVICE       = "hosts"
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
      name     = "hosts"
      port     = "8080"
      provider = "consul"

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
