# An agent's whole configuration. Everything has a default except how the
# sidecar runs (queue_proxy); what is shown is the default unless it says otherwise.
#
#   wadi agent -config /etc/wadi/            all *.hcl files, in order of their names
#   wadi agent -config a.hcl -config b.hcl   the later file wins
#
# wadi reload, or SIGHUP, reads it again: most settings are in force then, and the log names those that
# need a restart. A configuration with a mistake changes nothing.
# A flag beats the environment (NOMAD_ADDR, CONSUL_HTTP_TOKEN …), which beats this.

log_level = "info"                     # trace, debug, info, warn or error
log_json  = true                       # default: false
name      = "wadi-1"                   # default: the host's name; unique among the agents
advertise = "10.0.0.5"                 # where other agents and instances reach this one; default: as Consul's agent

http {                                 # the API
  address             = "127.0.0.1:4747"
  auth                = "nomad"        # the caller's Nomad token decides; "none": everything is permitted, on loopback only
  allowed_hosts       = ["wadi.example.com"] # further names by which it is called, such as a load balancer's; default: none
  requests_per_second = 100            # of one caller; twice as many at once; more get 429
  # tls {                              # HTTPS instead of HTTP; default: none
  #   cert_file     = "/etc/wadi/api.pem" # with its intermediates; the files are read again when they change
  #   key_file      = "/etc/wadi/api.key"
  #   ca_file       = "/etc/wadi/ca.pem" # who signs the certificates of clients and of other agents; default: the system's authorities
  #   verify_client = true             # refuse clients without a certificate of ca_file; default: false
  # }
}

metrics {                              # Prometheus and statistics, read only
  address = "0.0.0.0:4748"
}

gateway {                              # HTTP from outside the mesh
  address         = "0.0.0.0:8080"
  public_port     = 80                 # where callers reach it, behind a port mapping; default: the address's
  domain          = "apps.example.com" # a service is <name>.<domain>; default: wadi.localhost
  trusted_proxies = ["10.0.0.0/8"]     # addresses whose X-Forwarded headers are believed; default: none
  # tls {                              # HTTPS beside it; default: none
  #   address     = "0.0.0.0:8443"
  #   public_port = 443                # where callers reach it, and are sent to; default: the address's
  #   cert_dir    = "/etc/wadi/certs"  # NAME.pem or NAME.crt with NAME.key each, or both in one NAME.pem; read again when they change
  #   redirect    = true               # plain HTTP answers 308 to https; default: false
  #   acme {                           # agents obtain certificates for the domains of services (docs/operations.md); default: they don't
  #     agree_terms         = true     # to the authority's terms of service; required
  #     directory           = "https://acme-v02.api.letsencrypt.org/directory" # to try things out: https://acme-staging-v02.api.letsencrypt.org/directory
  #     email               = "ops@example.com" # where the authority reaches you; default: nowhere
  #     ca_file             = "/etc/wadi/acme-ca.pem" # who signs the directory's own certificate; default: the system's authorities
  #     challenges          = ["http-01", "tls-alpn-01"] # by port 80, and by port 443; in turn, one at each attempt
  #     renew_before        = "720h"   # default: when a third of a certificate's life is left
  #     max_domains         = 1000     # with a certificate
  #     orders_per_hour     = 80       # of all agents together
  #     encryption_key_file = "/etc/wadi/acme.key" # 32 bytes in base64, as consul keygen prints: encrypts private keys in Consul; default: they are not encrypted
  #     eab_key_id          = "kid-1"  # of an account at the authority, where it wants one; default: none
  #     eab_mac_key_file    = "/etc/wadi/eab.key" # its key, in base64url
  #   }
  # }
}

activator {                            # queues requests while no instance can take them
  address           = "0.0.0.0:4749"   # mesh listener, mTLS
  max_waiting       = 10000            # requests, of all revisions together
  max_waiting_bytes = "256MiB"
  max_wakes         = 20               # begun per second; fewer while Nomad is slow to place
}

nomad {                                # also ca_file, cert_file, key_file
  address = "http://127.0.0.1:4646"    # or unix:///run/nomad.sock
  region  = "global"                   # default: that of the agent at the address
  token   = "5f1b6c1e-0000-0000-0000-000000000000" # or token_file, read again at each reload; its least rights: wadi doctor -policies -only nomad, docs/security.md
}

consul {                               # also ca_file, cert_file, key_file
  address          = "http://127.0.0.1:8500"
  token            = "9a3e2d7c-0000-0000-0000-000000000000" # or token_file; its least rights: wadi doctor -policies -only consul, docs/security.md
  prefix           = "wadi/"           # of all keys: agents with the same prefix are one installation
  allow_intentions = false             # true: the right to submit a service includes its intentions; false: they also need intentions = "write" in Consul
}

mesh {
  shield = true                        # instances accept only Envoy's callers, and calls to the metrics port and to mapped ports; needs raw_exec, root and nft; default: false
  sidecar_task {                       # the Nomad task that runs Envoy; default: Nomad's own, with docker
    driver = "docker"
    config {
      image = "envoyproxy/envoy:v1.36.4"
      args  = ["-c", "${NOMAD_SECRETS_DIR}/envoy_bootstrap.json"]
    }
  }
}

queue_proxy {                          # the Nomad task that runs the sidecar; required
  driver = "docker"
  config {
    image = "wadi/queue-proxy:0.1"
  }
  resources {
    cpu    = 50
    memory = 64
  }
  logs {
    disabled = true                    # saves a 16 MB helper process per instance
  }
}

assets {                               # agents serve the queue-proxy's program to Nomad's nodes (docs/images.md); default: they don't
  dir  = "/var/lib/wadi/assets"        # where they keep it by checksum, also older ones that revisions name; no default: it has to outlive the agent
  #url = "http://$${attr.unique.network.ip-address}:4748" # new revisions fetch it from there, by raw_exec or exec without a command: agents' metrics listeners as nodes reach them; default: they fetch nothing
  arch = ["amd64"]                     # the nodes' architectures, as in Nomad's attr.cpu.arch; each node gets the programs of all of them; default: the agent's own
}

defaults {                             # any setting of a service
  mesh = "envoy"
  scale {
    window = "90s"                     # default: 60s
    metric "concurrency" {             # a service's own metrics replace these
      utilization = 0.6                # default: 0.7
    }
    schedule "office" {                # a service may change one by its name
      cron     = "0 8 * * mon-fri"
      duration = "10h"
      timezone = "Europe/Berlin"
      min      = 0                     # default: no schedule
    }
  }
}

limits {                               # of every service
  max_instances       = 100            # of one revision, at most 10000
  max_request_timeout = "3600s"
  max_spec_bytes      = "1MiB"
  max_services        = 1000           # of all namespaces together
}

retention {                            # of revisions that are not routed
  keep_for        = "48h"              # since they were submitted
  keep_active_for = "15h"              # since they last had traffic
  max             = 1000               # of one service
}

admission "policy" {                   # an outside webhook that judges submissions; none by default, in this order (docs/admission.md); also ca_file, cert_file, key_file
  url        = "https://policy.example.com/admit" # no default; http on this machine only
  kind       = "validate"              # or "mutate": it may also change services; those are asked first
  on_failure = "refuse"                # what becomes of a submission without its answer; or "ignore"
  timeout    = "2s"                    # of one question, about one service; at most 10s
}

admission_meta {
  require = ["team"]                   # keys that the meta of each service needs; default: none
}

admission_tasks {                      # of all tasks of a service
  drivers = ["docker"]                 # default: all
  images  = ["ghcr.io/acme/**", "docker.io/library/*:*", "quay.io/acme/*@sha256:*"] # patterns, of which one must match; default: all
}

images {                               # how registries are asked which digest an image's tag has
  # docker_config     = "/etc/wadi/docker.json" # credentials, as `docker login` writes them; helper programs too; read for each question; default: none, all is asked anonymously
  timeout             = "10s"          # of one question, with logging in
  # ca_file           = "/etc/wadi/registry-ca.pem" # authorities of registries, beside the system's
  # certs_dir         = "/etc/docker/certs.d" # certificates of single registries, as Docker has them
  allow_networks      = ["10.20.0.0/16"] # addresses to which a registry may lead though they are not public, such as its token service; default: none
  insecure_registries = ["registry.example.com:5000"] # asked by http, or with any certificate; those of this machine are always; default: none
}

telemetry {
  otlp_endpoint = "http://127.0.0.1:4318" # of a collector, by OTLP over HTTP: gets a span for each request of the agent; default: none
  access_log    = true                 # agent and queue-proxies: a line of JSON for each request on standard output; default: false
}
