# The job is "corners": Wadi's own, "corners-00001", runs on beside it until "wadi service delete corners".
# The count is 2, and stays so until you change it: nothing scales it by the load, or to zero and back.
# An update is a deployment of Nomad's: one instance after the other. There are no revisions and no shares of the traffic.
# There is no queue-proxy: requests reach task "web" itself.
# The app has to listen on every address: what listens on 127.0.0.1 only was reached through the queue-proxy.
# The port "app_" of the node is chosen by Nomad: callers find it in Consul, as service "corners". For a fixed one set static in its block; then a node has room for one instance.
# Consul connects to the app's port every 5s to see whether it is ready.
# TO DO: the app uses NOMAD_ADDR_wadi_metrics, a port of the queue-proxy, which there is no more.
# Nothing limits an instance to 5 requests at a time: the app or its load balancer has to.
# Nothing aborts a request after timeout.request (5m0s).
# An instance that ends gets its kill_signal after shutdown_delay: the app itself has to finish its requests, within its kill_timeout.
# The gateway has no route to this job: a load balancer of yours has to, for its domains and certificates too.
# The variables WADI_SERVICE and WADI_REVISION are not set; K_SERVICE, K_REVISION and K_CONFIGURATION are as they were.
# $${NAME} stands for a variable that Nomad resolves where the job runs, or the app's shell.
job "corners" {
  namespace   = "default"
  type        = "service"
  priority    = 50
  datacenters = ["*"]
  node_pool   = "default"

  group "instance" {
    count          = 2
    shutdown_delay = "2s"

    constraint {
      attribute = "$${attr.kernel.name}"
      value     = "linux"
      operator  = "="
    }

    affinity {
      attribute = "$${node.datacenter}"
      value     = "dc1"
      operator  = "="
      weight    = 50
    }

    task "web" {
      driver       = "docker"
      kill_timeout = "15m0s"

      config {
        cpu_cfs_period = 100000
        image          = "here:1"
        labels = [{
          b               = "2"
          "com.example/a" = "1"
        }]
        mount = [{
          tmpfs_options = [{
            size = 100000
          }]
          type = "tmpfs"
        }]
        network_mode = "host"
        ports        = ["app_"]
        privileged   = false
        ratio        = 0.5
      }
      env = {
        K_CONFIGURATION = "corners"
        K_REVISION      = "corners-00001"
        K_SERVICE       = "corners"
        LINES           = "a\nb"
        LISTEN          = "$${NOMAD_IP_app_}:$${NOMAD_PORT_app_}"
        METRICS         = "http://$${NOMAD_ADDR_wadi_metrics}/"
        PERCENT         = "100%%{x}"
        PORT            = "$${NOMAD_PORT_app_}"
        QUOTE           = "say \"hi\" \\ $${HOME}"
        "a.b"           = "c"
      }

      resources {
        cpu        = 200
        memory     = 128
        memory_max = 256

        device "nvidia/gpu" {
          count = 1

          constraint {
            attribute = "$${device.attr.memory}"
            value     = "2 GiB"
            operator  = ">="
          }
        }
      }

      meta {
        x = "1"
      }

      logs {
        max_files     = 3
        max_file_size = 20
      }

      artifact {
        source      = "https://example.com/$${attr.cpu.arch}/app"
        destination = "local/"

        options {
          checksum = "md5:0"
        }

        headers {
          X-Token = "t"
        }
      }

      vault {
        policies      = ["p"]
        role          = "app"
        env           = true
        disable_file  = false
        change_mode   = "signal"
        change_signal = "SIGHUP"
      }

      template {
        destination          = "local/run.sh"
        data                 = <<EOT
#!/bin/sh
  listen {{ env "NOMAD_PORT_app_" }}
exec app $${PORT} %%{y}
EOT
        change_mode          = "script"
        splay                = "5s"
        perms                = "0755"
        error_on_missing_key = false

        change_script {
          command       = "/bin/sh"
          args          = ["-c", "true"]
          timeout       = "5s"
          fail_on_error = false
        }

        wait {
          min = "5s"
          max = "1m0s"
        }
      }

      template {
        destination          = "secrets/env"
        data                 = "A=b"
        change_mode          = "restart"
        splay                = "5s"
        perms                = "0644"
        env                  = true
        error_on_missing_key = false
      }

      volume_mount {
        volume           = "a"
        destination      = "/a"
        read_only        = true
        propagation_mode = "private"
      }

      identity {
        name = "default"
        env  = true
      }

      identity {
        name = "aws"
        aud  = ["sts"]
        file = true
        ttl  = "1h0m0s"
      }

      action "migrate" {
        command = "/bin/migrate"
        args    = ["up"]
      }
    }

    task "helper" {
      driver = "docker"

      config {
        image        = "helper:1"
        network_mode = "none"
      }

      env {
        K_CONFIGURATION = "corners"
        K_REVISION      = "corners-00001"
        K_SERVICE       = "corners"
      }

      logs {
        max_files     = 2
        max_file_size = 4
      }
    }

    spread {
      attribute = "$${node.datacenter}"
      weight    = 100

      target "dc1" {
        percent = 70
      }

      target "dc2" {
        percent = 30
      }
    }

    volume "a" {
      type      = "host"
      source    = "a"
      read_only = true
    }

    volume "b" {
      type            = "csi"
      source          = "b"
      access_mode     = "single-node-writer"
      attachment_mode = "file-system"

      mount_options {
        fs_type     = "ext4"
        mount_flags = ["noatime"]
      }
    }

    restart {
      interval = "1m0s"
      attempts = 3
      delay    = "1s"
      mode     = "fail"
    }

    reschedule {
      attempts  = 1
      interval  = "1h0m0s"
      unlimited = false
    }

    ephemeral_disk {
      size = 62
    }

    network {
      mode = "host"

      port "admin" {
        static = 9999
      }

      port "app_" {
      }

      port "app" {
      }
    }
    meta = {
      "dotted.key" = "b"
      team         = "a"
    }

    service {
      name     = "corners"
      port     = "app_"
      provider = "consul"

      check {
        name     = "ready"
        type     = "tcp"
        interval = "5s"
        timeout  = "2s"
      }
    }

    service {
      name     = "corners-admin"
      tags     = ["x", "y"]
      port     = "admin"
      provider = "consul"

      check {
        type     = "http"
        path     = "/"
        interval = "10s"
        timeout  = "2s"

        header {
          Authorization = ["Basic x"]
        }

        check_restart {
          limit = 3
          grace = "1m30s"
        }
      }
    }
  }

  update {
    progress_deadline = "16m0s"
  }
}
