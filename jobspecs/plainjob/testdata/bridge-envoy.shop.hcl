# The job is "shop": Wadi's own, "shop-00001", runs on beside it until "wadi service delete shop".
# The count is 2, and stays so until you change it: nothing scales it by the load, or to zero and back.
# An update is a deployment of Nomad's: one instance after the other. There are no revisions and no shares of the traffic.
# There is no queue-proxy: requests reach task "web" itself.
# Consul checks /healthz every 5s, and takes only statuses from 200 to 299 for ready.
# Nothing limits an instance to 10 requests at a time: the app or its load balancer has to.
# Envoy aborts a request after timeout.request, as before. With the service Wadi removes what it wrote into Consul about it, such as the protocol (http1) and intentions: write those that you need yourself.
# An instance that ends gets its kill_signal after shutdown_delay: the app itself has to finish its requests, within its kill_timeout.
# The gateway has no route to this job: a load balancer of yours has to, for its domains and certificates too.
# The variables WADI_SERVICE and WADI_REVISION are not set; K_SERVICE, K_REVISION and K_CONFIGURATION are as they were.
# $${NAME} stands for a variable that Nomad resolves where the job runs, or the app's shell.
job "shop" {
  namespace   = "default"
  type        = "service"
  priority    = 70
  datacenters = ["dc1", "dc2"]
  node_pool   = "all"

  group "instance" {
    count          = 2
    shutdown_delay = "2s"

    task "migrate" {
      driver = "docker"

      lifecycle {
        hook = "prestart"
      }

      config {
        args  = ["migrate"]
        image = "shop:2"
      }

      env {
        K_CONFIGURATION = "shop"
        K_REVISION      = "shop-00001"
        K_SERVICE       = "shop"
      }

      logs {
        max_files     = 2
        max_file_size = 4
      }
    }

    task "web" {
      driver       = "docker"
      kill_timeout = "20s"

      config {
        args  = ["-v", "-listen", "$${NOMAD_ALLOC_DIR}/sock", "$${NOMAD_ALLOC_ID}"]
        image = "shop:2"
        mount = [{
          target = "/tmp"
          type   = "tmpfs"
        }]
      }

      env {
        K_CONFIGURATION = "shop"
        K_REVISION      = "shop-00001"
        K_SERVICE       = "shop"
        MODE            = "FAST"
        PORT            = "3000"
      }

      service {
        name = "shop-admin"
      }

      resources {
        cpu    = 200
        memory = 128
      }

      logs {
        max_files     = 2
        max_file_size = 4
      }

      template {
        destination          = "local/x"
        data                 = <<EOT
hello {{ env "NOMAD_ALLOC_ID" }}
EOT
        change_mode          = "restart"
        splay                = "5s"
        perms                = "0644"
        error_on_missing_key = false
      }
    }

    volume "data" {
      type      = "host"
      source    = "data"
      read_only = true
    }

    restart {
      attempts = 0
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
      name     = "shop"
      port     = "3000"
      provider = "consul"

      check {
        name     = "ready"
        type     = "http"
        path     = "/healthz"
        expose   = true
        interval = "5s"
        timeout  = "500ms"
      }

      connect {
        sidecar_service {
          proxy {
            upstreams {
              destination_name = "billing"
              local_bind_port  = 9191
            }

            upstreams {
              destination_name = "stock"
              local_bind_port  = 9192
            }

            config {
              local_idle_timeout_ms    = 95000
              local_request_timeout_ms = 95000
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
