# The job is "alone": Wadi's own, "alone-00001", runs on beside it until "wadi service delete alone".
# The count is 2, and stays so until you change it: nothing scales it by the load, or to zero and back.
# An update is a deployment of Nomad's: one instance after the other. There are no revisions and no shares of the traffic.
# There is no queue-proxy: requests reach task "web" itself.
# The app has to listen on every address: what listens on 127.0.0.1 only was reached through the queue-proxy.
# The port "app" of the node is chosen by Nomad: callers find it in Consul, as service "alone". For a fixed one set static in its block; then a node has room for one instance.
# Consul connects to the app's port every 5s to see whether it is ready.
# Nothing aborts a request after timeout.request (5m0s).
# An instance that ends gets its kill_signal after shutdown_delay: the app itself has to finish its requests, within its kill_timeout.
# The gateway has no route to this job: a load balancer of yours has to, for its domains and certificates too.
# The variables WADI_SERVICE and WADI_REVISION are not set; K_SERVICE, K_REVISION and K_CONFIGURATION are as they were.
# $${NAME} stands for a variable that Nomad resolves where the job runs, or the app's shell.
job "alone" {
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
        extra_hosts  = ["db:10.0.0.1"]
        image        = "web:1"
        network_mode = "host"
      }

      env {
        K_CONFIGURATION = "alone"
        K_REVISION      = "alone-00001"
        K_SERVICE       = "alone"
        PORT            = "$${NOMAD_PORT_app}"
      }

      logs {
        max_files     = 2
        max_file_size = 4
      }
    }

    task "log" {
      driver = "docker"

      config {
        image        = "log:1"
        network_mode = "host"
      }

      env {
        K_CONFIGURATION = "alone"
        K_REVISION      = "alone-00001"
        K_SERVICE       = "alone"
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
      mode = "host"

      port "app" {
      }
    }

    service {
      name     = "alone"
      port     = "app"
      provider = "consul"

      check {
        name     = "ready"
        type     = "tcp"
        interval = "5s"
        timeout  = "1s"
      }
    }
  }
}
