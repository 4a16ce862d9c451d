package setup

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/policies"
)

// configText is the agents' configuration, with a comment at each choice.
func configText(c Cluster, choice Choice) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# The configuration of Wadi's agents, made by \"wadi init\". Check it with \"wadi doctor\"")
	line("# once agents run. Each other setting has a default: docs/config.md.")
	line("#")
	for _, fact := range Found(c) {
		line("# %-8s %s", fact.About, fact.What)
	}
	line("")
	if choice.RunsAs == AsService {
		listeners(line, c)
	} else {
		line("# Addresses, ports and names come from the job %s.", AgentsJobFile)
		line("")
	}
	line("gateway {")
	if choice.RunsAs == AsService {
		line("  address = \"0.0.0.0:8080\"")
	}
	line("  domain = %s # a service is <name>.<domain>", quote(choice.Domain))
	line("}")
	line("")
	backends(line, c, choice)
	queueProxy(line, choice)
	if choice.Mesh && !choice.EnvoyImage {
		b.WriteString(envoyProgram)
	} else if choice.Mesh {
		line("# Envoy runs by Docker, in the version that Consul wants: Nomad's own sidecar task.")
		line("")
	}
	mesh, network, why := wadi.MeshOff, wadi.Host, "callers come through the gateway alone"
	if choice.Mesh {
		mesh, network, why = wadi.MeshEnvoy, wadi.Bridge, "instances are in Consul's mesh"
	}
	line("# What services have unless they say otherwise: %s.", why)
	line("defaults {")
	line("  mesh    = %s", quote(string(mesh)))
	line("  network = %s", quote(string(network)))
	if pool := c.pool(); pool != defaultPool {
		line("  node_pool = %s", quote(pool))
	}
	line("}")
	text := string(hclwrite.Format([]byte(b.String())))
	if choice.RunsAs == AsJob {
		return literally(text)
	}
	return text
}

// literally is a text that stays as it is when Nomad renders it, as it does the configuration
// of agents in a job. A datacenter's name may be any text, also of a template that reads a key.
func literally(text string) string { return strings.ReplaceAll(text, "{{", "{{`{{`}}") }

// listeners are the settings that a job would give by flags.
func listeners(line func(string, ...any), c Cluster) {
	line("# name      = \"wadi-1\"   # unique among the agents; default: the host's name")
	line("# advertise = \"10.0.0.5\" # where agents and instances reach this one; default: as Consul's agent")
	line("")
	line("http { # the API")
	line("  address = \"127.0.0.1:4747\"")
	if c.NomadACLs() {
		line("  auth = \"nomad\" # the caller's Nomad token decides. For other addresses than loopback set tls { cert_file key_file }")
	} else {
		line("  auth = \"nomad\" # Nomad has no ACLs: everybody who reaches the address may do everything, so keep it on loopback")
	}
	line("}")
	line("")
	line("metrics { # Prometheus and statistics, read only; agents read each other's")
	line("  address = \"0.0.0.0:4748\"")
	line("}")
	line("")
	line("activator { # mesh listener, mTLS")
	line("  address = \"0.0.0.0:4749\"")
	line("}")
	line("")
}

// backends are how agents reach Nomad and Consul.
func backends(line func(string, ...any), c Cluster, choice Choice) {
	block := func(name string, b Backend, acls bool, variable, policy string, more ...string) {
		if choice.RunsAs == AsJob && len(more) == 0 {
			return
		}
		line("%s {", name)
		if choice.RunsAs == AsService {
			line("  address = %s", quote(b.Address))
			for _, f := range []struct{ name, file string }{{"ca_file", b.CAFile}, {"cert_file", b.CertFile}, {"key_file", b.KeyFile}} {
				if f.file != "" {
					line("  %s = %s", f.name, quote(f.file))
				}
			}
			if acls {
				line("  # token = \"…\" # or %s in the agent's environment; its rights: %s", variable, policy)
			}
		}
		for _, m := range more {
			line("  %s", m)
		}
		line("}")
		line("")
	}
	var ofNomad, ofConsul []string
	if choice.Region != "" {
		ofNomad = append(ofNomad, "region = "+quote(choice.Region))
	}
	if choice.Prefix != policies.DefaultPrefix {
		ofConsul = append(ofConsul, "prefix = "+quote(choice.Prefix)+" # of all keys: agents with the same prefix are one installation")
	}
	block("nomad", choice.Nomad, c.NomadACLs(), "NOMAD_TOKEN", NomadPolicyFile, ofNomad...)
	block("consul", choice.Consul, c.ConsulACLs(), "CONSUL_HTTP_TOKEN", ConsulPolicyFile, ofConsul...)
}

// queueProxy is the task of the sidecar.
func queueProxy(line func(string, ...any), choice Choice) {
	switch {
	case choice.fetches():
		programsOfAgents(line)
		line("# The sidecar of each instance: the program that nodes fetch from the agents.")
	case choice.Driver == "docker":
		line("# The sidecar of each instance.")
	default:
		line("# The sidecar of each instance: a program that %s puts on each node.", NodesJobFile)
	}
	line("queue_proxy {")
	line("  driver = %s", quote(choice.Driver))
	switch {
	case choice.fetches():
	case choice.Driver == "docker":
		line("  config {")
		line("    image = %s", quote(choice.Image))
		line("  }")
	default:
		line("  config {")
		line("    command = %s", quote(strings.TrimRight(choice.Bin, "/")+"/queue-proxy"))
		line("  }")
	}
	line("  resources {")
	line("    cpu    = 50")
	line("    memory = 64")
	line("  }")
	line("  logs {")
	line("    disabled = true # saves a 16 MB helper process per instance")
	line("  }")
	line("}")
	line("")
}

// programsOfAgents has nodes fetch the queue-proxy from the agents.
func programsOfAgents(line func(string, ...any)) {
	line("# Nodes fetch the queue-proxy from the agents, by its checksum.")
	line("assets {")
	line("  dir = %s # outlives the agents", quote(assetsDir))
	line("  # Where nodes reach an agent's metrics listener: here on each node its own. Each revision")
	line("  # keeps it: elsewhere name what does not move.")
	line("  url = \"http://$${attr.unique.network.ip-address}:4748\"")
	line("  # arch = [\"amd64\", \"arm64\"] # of the nodes, where that is not the agents' own alone")
	line("}")
	line("")
}

// assetsDir is the folder of an agent's programs for nodes.
const assetsDir = "/var/lib/wadi/assets"

// envoyProgram runs Envoy without Docker.
const envoyProgram = `# Envoy without Docker: the program envoy is on the PATH of Nomad's clients.
mesh {
  sidecar_task {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      # Nomad's bootstrap names its sockets below alloc/, which raw_exec, having no chroot,
      # does not see from the task's directory.
      args = ["-c", "ln -sfn ../alloc alloc; exec envoy -c $NOMAD_SECRETS_DIR/envoy_bootstrap.json -l warning --concurrency 1 --disable-hot-restart"]
    }
    resources {
      cpu    = 50
      memory = 128
    }
    shutdown_delay = "1s"
  }
}

`

// quote is a text as HCL writes it.
func quote(s string) string {
	return string(hclwrite.TokensForValue(cty.StringVal(s)).Bytes())
}
