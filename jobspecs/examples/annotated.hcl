# Every setting of a service, with what it means. Values are the defaults unless a
# comment says otherwise; the agent's configuration may have others in its
# `defaults` block. A file may hold several services, applied all or nothing.

# Variables and locals work in the whole file. Inside `instance` Nomad's parser
# evaluates them, with its own functions.
variable "image" {
  type        = string
  default     = "nginx:1.27"
  description = "Give another one with -var image=…"
}

locals {
  team = "payments"
}

# A DNS label of at most 40 characters. It is the name in the mesh, the first part
# of the host name at the gateway, and the prefix of the revisions' Nomad jobs.
service "annotated" {
  # Where Nomad runs it. The namespace can't change later.
  namespace   = "default"
  datacenters = ["*"]
  node_pool   = "default"
  priority    = 50

  # The app listens on $PORT. In a bridge network that is this port; in the host's
  # network Nomad chooses one, and this means nothing. Not allowed: 8012, 8022, 9090, 19000 to 19100.
  port     = 8080
  protocol = "http1" # http1 | h2c | grpc. Can't change later.

  domains    = ["annotated.example.com"] # Besides <name>.<gateway domain>. Default: none.
  visibility = "public"                  # public | mesh: the gateway has no route to it.

  # Images run by the digest that their tag had when the file was applied. require: without
  # a digest nothing is submitted; off: no registry is asked, and a tag may move at any start.
  resolve_images = "try" # require | try | off

  # How one instance runs: the inside of a Nomad group, as Nomad's parser takes it.
  # Wadi adds the network, the Consul service, the queue-proxy and Envoy; count,
  # scaling, update, shutdown_delay and leader can't be set.
  instance {
    # Further ports, at most 32; the rest of the network is Wadi's. Their callers reach the app without
    # queue-proxy, Envoy and intentions, and wake nothing. In the host's network leave out "to".
    # network {
    #   port "admin" { to = 9000 }        # The app finds it as ${NOMAD_PORT_admin}.
    #   port "gossip" { static = 7946 }   # At most one instance per node, and no next revision beside it.
    # }

    # Unless set: restart { attempts = 3, interval = "1m", delay = "1s", mode = "fail" },
    # reschedule { delay = "5s", delay_function = "exponential", max_delay = "1m", unlimited = true },
    # an ephemeral_disk of 10 MB, and logs of 2 files of 4 MB for each task.
    task "web" {
      driver = "docker"

      config {
        image = var.image
      }

      # Wadi adds PORT, WADI_SERVICE, WADI_REVISION, K_SERVICE, K_REVISION and K_CONFIGURATION; they
      # can't be set here. "${PORT}" and the like get their values in env, config, services, artifacts
      # and templates with env = true; in the text of other templates write {{ env "PORT" }}.
      env {
        GREETING = "hello"
      }

      resources {
        cpu    = 100
        memory = 128
      }

      kill_timeout = "10s" # After the queue-proxy has drained.
    }

    task "cache" {
      driver = "docker"

      config {
        image = "redis:7"
      }
    }
  }

  serving_task = "web" # Which task listens on $PORT. Only needed with several tasks.

  network = "bridge" # bridge | host
  mesh    = "envoy"  # envoy: through Consul's mesh, needs a bridge network | off: plain HTTP

  # A service that the app calls through its Envoy, here at 127.0.0.1:9191. Default: none.
  upstream "billing" {
    local_port = 9191
  }

  # How the queue-proxy probes whether the app is ready: http = a path, grpc = a
  # service's name, or tcp = true: a connection, which is the default.
  probe {
    http    = "/healthz"
    timeout = "1s"
  }

  concurrency {
    limit = 0 # Requests at once in one instance; more wait. 0: no limit.
  }

  timeout {
    request        = "300s" # The whole request, waiting included, then 504.
    response_start = "0s"   # Until the answer begins. 0: off.
    idle           = "0s"   # Between bytes of the answer. 0: off.
    progress       = "600s" # A new revision must become ready within, or has failed.
  }

  # Requests that wait at an activator for an instance.
  queue {
    depth   = 1000         # More of them: 503 with Retry-After.
    timeout = "60s"        # Longer: 504.
    quiet   = ["/metrics"] # Paths that never wake and are not activity. Default: none.
  }

  # How many instances. All of it is changed in place, within a second, and touches
  # no job. Counts are at most the agent's limits.max_instances.
  scale {
    min        = 0 # 0: scale to zero.
    max        = 0 # 0: the agent's limits.max_instances.
    initial    = 1 # Ready instances before a new revision counts as ready. 0: none.
    activation = 1 # Instances when leaving zero; 1 or more.

    window     = "60s" # 6s to 1h, whole seconds: what is averaged over, and the idle time before zero.
    zero_grace = "0s"  # Up to 1h: further idle time before zero.
    down_delay = "0s"  # Up to 1h: how long a lower count must be wanted.

    max_up_rate   = 1000 # The largest factor of one step up,
    max_down_rate = 2    # and down; each above 1, up to 1000000.

    panic_window_percent    = 10  # 1 to 100, of window: the short window that sees a burst.
    panic_threshold_percent = 200 # 110 to 1000, of the ready instances: above it, nothing is scaled down.

    # In the mesh, callers go straight to the instances while some run. Other than 0:
    # always through an activator, which balances the load, at the cost of a hop.
    # The number is the capacity kept free, in requests at once; -1: unbounded.
    burst_capacity = 0

    dry_run     = false # Decide and show, but don't scale.
    manual_hold = "60s" # Up to 24h: how long a count set by hand in Nomad stands.

    # The metrics; without a block it is concurrency. Of several the largest answer wins.
    # concurrency: requests at once | rps: requests begun per second | cpu, memory: in
    # percent of what the serving task asks for. Only requests decide about zero.
    metric "concurrency" {
      target      = 100 # 0.01 or more, per instance. Default: concurrency.limit, else 100; rps 200; cpu and memory 80 (up to 1000).
      utilization = 0.7 # 0.01 to 1: the share of it that an instance should have. cpu, memory: 1.
    }

    metric "cpu" {
      target = 80
    }

    # A floor by the clock, whatever min says; up to 32 of them. Default: none. One of
    # the agent's defaults is changed by its name; min = 0 switches it off.
    schedule "office" {
      cron     = "0 8 * * mon-fri" # Minute, hour, day, month, weekday; or @hourly, @daily, …
      duration = "10h"             # 1m to 168h, from each time that cron names.
      timezone = "Europe/Berlin"   # By its IANA name. Default: UTC. A time that summer time skips does not occur.
      min      = 2
    }
  }

  # Where requests go, in steps of 0.01 percent that sum to 100. No such block: what
  # was set before; for a new service, the latest revision that became ready. Another
  # target names a revision of this service by its ID; a new service has none yet.
  # A named revision that is not ready yet leaves the traffic as it was.
  traffic {
    revision = "latest"
    percent  = 100 # Default: 100 for an only target, 0 for one of several.

    # The target's own address: canary-annotated.<gateway domain>, canary-annotated in
    # the mesh, and the header Wadi-Tag: canary. Default: none.
    tag = "canary"
  }

  # How a new revision takes over the share of "latest". Its instances are always ready before
  # its requests come. Default: all at once.
  rollout {
    duration = "10m" # Up to 168h, whole seconds: from the first step, of 1 %, to the last. 0s: all at once.
    steps    = 0     # Up to 99, after the first. 0: as many as fit.
    hold     = "0s"  # Up to 24h: the least time of a step, counted once callers are served by it.

    # Gates: each step waits for enough requests, and compares the new revision with the one
    # before over the same time. If it is worse, the rollout goes back by itself.
    max_error_percent = 1       # By how many percent of the requests it may fail more. 0: no gate on errors.
    max_p99           = "500ms" # The 99th percentile of its latency, 1ms to 5m. 0s: no gate on latency.

    # What counts as an error. Default: 5xx, and gRPC's errors of servers.
    error_codes = ["5xx", "429", "grpc:14"]
  }

  # Requests that go elsewhere: by the first route of which all conditions are met, after
  # tags and before the split, for callers from outside and in the mesh alike. At most 32.
  # Default: none.
  route "api-v2" {
    match {
      path_prefix = "/v2"           # By whole segments: /v2 and /v2/x, not /v20. Or path, for one path alone.
      methods     = ["GET", "HEAD"] # One of them. Default: any.

      header "X-Client" {
        prefix = "mobile/" # Or exact, suffix, or present = true.
      }
      query "beta" {
        present = true # Or exact.
      }
    }
    tag            = "canary" # Or revision, or service for another one. Default: on by the traffic blocks.
    prefix_rewrite = "/"      # In place of path_prefix or path. Default: the path stays.
  }
  route "moved" {
    match {
      path_prefix = "/shop"
    }
    redirect {
      scheme = "https" # Only with host.
      host   = "shop.example.com"
      path   = "/"     # Default: the path that was asked.
      code   = 308     # 301, 302, 303, 307 or 308. Default: 302.
    }
  }

  # While the traffic is split, a user stays on one revision, or moves once to a newer one
  # as its share grows. By a cookie of the gateway, by a header of the callers (also in the
  # mesh, where such calls go through an activator), or both. Default: none: each
  # request is split by itself.
  sticky {
    cookie = "wadi-annotated" # Has a number from 0 to 9999.
    ttl    = "24h"            # 1m to 9600h; at least rollout.duration.
    header = "X-User-ID"      # Comes before the cookie.
  }

  # Copies of some requests to other revisions, sent by the gateway to this tag's; the
  # answers are thrown away. Default: none.
  mirror {
    tag     = "canary"
    percent = 0                          # In steps of 0.01. No default.
    methods = ["GET", "HEAD", "OPTIONS"] # Whose requests are copied.
  }

  retention {
    keep            = 5     # Revisions kept besides those that get traffic: those that had it last.
    keep_for        = "48h" # Others go when this has passed since they were submitted,
    keep_active_for = "15h" # and this since they last had traffic. Default: the agent's.
  }

  # The allowed callers in the mesh, by their names in Consul; "*" is every caller, [] none.
  # Wadi then writes the service's intentions, and allows its activators too, and the
  # gateway where visibility is public. Default: none: the intentions are yours.
  intentions {
    allow = ["web", "billing"]
  }

  # The images of a new revision are fetched to the nodes that could run it before it starts
  # and gets traffic, for at most 5 minutes and at most half of timeout.progress.
  image_prefetch = false

  meta = {
    team = local.team # Free text. Default: none.
  }
}
