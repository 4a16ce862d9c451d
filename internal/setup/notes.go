package setup

import (
	"fmt"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/survey"
)

// Notes say what in the cluster stands in the way of the choices, and what could not be
// asked. The files are good all the same.
func Notes(c Cluster, choice Choice) (out []string) {
	note := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if old := c.Nomad.TooOld(); len(old) > 0 {
		note("Nomad has the version %s; Wadi supports %s and newer", strings.Join(old, ", "), survey.OldestNomad)
	}
	if old := c.Consul.TooOld(); old != "" {
		note("Consul has the version %s; Wadi supports %s and newer", old, survey.OldestConsul)
	}
	nodes := c.nodes()
	count := len(nodes.Ready)
	switch {
	case c.Nomad.Nodes.Err != nil:
		note("nodes are %s, so the driver %s and the mesh were not checked; set NOMAD_TOKEN to a token with node { policy = \"read\" }", notKnown(c.Nomad.Nodes.Err), choice.Driver)
	case count == 0:
		note("no node of Nomad takes jobs now: nomad node status shows why")
	default:
		out = append(out, driverNotes(nodes, choice)...)
	}
	if choice.Mesh {
		out = append(out, meshNotes(c, choice, nodes)...)
	} else if !c.meshWorks() && c.Nomad.Nodes.Err == nil && count > 0 {
		note("services are outside the mesh: %s", whyNoMesh(c))
	}
	if choice.RunsAs == AsService {
		unverified(note, "nomad", choice.Nomad)
		unverified(note, "consul", choice.Consul)
	}
	if consul := c.Nomad.Agent.Value.Consul; choice.RunsAs == AsJob && c.Nomad.Agent.Value.Client && strings.HasPrefix(consul, "https:") {
		note("nodes reach Consul by TLS at %s: add consul { ca_file = … }, a file of the nodes, to %s", consul, ConfigFile)
	}
	if bound := c.Nomad.Agent.Value.MaxKillTimeout; bound > 0 && bound < longestDrain {
		note("the Nomad client that was asked ends every task after %v: requests that take longer are cut when a node is drained; set client { max_kill_timeout = \"%v\" } on all of them", bound, longestDrain)
	}
	if choice.Driver == wadi.DriverDocker || choice.Mesh && choice.EnvoyImage {
		out = append(out, imageNotes(c.Nomad.Agent)...)
	}
	return out
}

// keepImages is how long nodes should keep images of services at zero, as the doctor has it.
const keepImages = 12 * time.Hour

// imageNotes are about clients that remove images of services at zero.
func imageNotes(agent survey.Known[survey.NomadAgent]) []string {
	const remedy = `services at zero pull their images again; set plugin "docker" { config { gc { image_delay = "168h" } } } on all of them (docs/operations.md)`
	gc := agent.Value.ImageGC
	switch {
	case agent.Err != nil || !agent.Value.Client:
		return []string{"unless they are told otherwise Nomad clients remove an image 3 minutes after its last container: " + remedy}
	case gc.On && gc.Delay < keepImages:
		return []string{fmt.Sprintf("the Nomad client that was asked removes an image %s after its last container: %s", wadi.Duration(gc.Delay).Short(), remedy)}
	}
	return nil
}

// unverified notes that agents will not take a certificate on trust, or for another name.
func unverified(note func(string, ...any), block string, b Backend) {
	if b.ServerName != "" && !b.SkipVerify {
		note("the certificate at %s was verified for the name %s; agents verify it for the host of the address: set %s { address } in %s to one that is in it", b.Address, b.ServerName, block, ConfigFile)
	}
	if b.SkipVerify && b.CAFile == "" {
		note("the certificate at %s was not verified, though agents verify it: name its authority in %s { ca_file } of %s", b.Address, block, ConfigFile)
	}
}

// longestDrain is that of an instance with the default request timeout, 5 min.
const longestDrain = 310 * time.Second

func driverNotes(nodes survey.Nodes, choice Choice) (out []string) {
	lacks := func(driver, what string) {
		if n := len(nodes.Ready) - nodes.With(driver); n > 0 {
			out = append(out, fmt.Sprintf("%d of %s that take%s jobs %s no healthy driver %s, which runs %s", n,
				wadi.Quantity(len(nodes.Ready), "node"), wadi.Plural(len(nodes.Ready), "s", ""), wadi.Plural(n, "has", "have"), driver, what))
		}
	}
	lacks(choice.Driver, "the queue-proxy")
	if choice.Mesh && choice.EnvoyImage {
		lacks("docker", "Envoy")
	} else if choice.Mesh && choice.Driver != "raw_exec" {
		lacks("raw_exec", "Envoy")
	}
	if choice.RunsAs == AsJob {
		lacks(agentsDriver(nodes), "the agents of "+AgentsJobFile)
	}
	program := map[string]string{"exec": "queue-proxy", "docker": "wadi"}[choice.Driver]
	if program != "" && choice.nodesRunPrograms() && nodes.With("raw_exec") < len(nodes.Ready) {
		out = append(out, fmt.Sprintf("%s needs the driver raw_exec, which not every node has: put the program %s there by other means", NodesJobFile, program))
	}
	if choice.fetches() && choice.RunsAs == AsService {
		out = append(out, fmt.Sprintf("nodes fetch the queue-proxy from an agent of their own: where not each has one, set assets { url } in %s to what all reach", ConfigFile))
	}
	if choice.fetches() && choice.RunsAs == AsJob && agentsDriver(nodes) == "exec" {
		out = append(out, fmt.Sprintf("agents run by exec, in a folder that does not outlive them: give them a volume, and set assets { dir } in %s to it", ConfigFile))
	}
	if choice.Driver == "docker" {
		out = append(out, fmt.Sprintf("the image %s is not published: build it with make images (docs/images.md), and name it with -image", choice.Image))
	}
	return out
}

func meshNotes(c Cluster, choice Choice, nodes survey.Nodes) (out []string) {
	if len(c.Consul.Connect.Value) == 0 {
		out = append(out, "Consul Connect is off, or could not be asked: services in the mesh need connect { enabled = true } on Consul's servers")
	}
	if !choice.EnvoyImage {
		version := ""
		if envoys := c.Consul.Agent.Value.Envoys; len(envoys) > 0 {
			version = ", in a version that Consul supports: " + wadi.OneLine(strings.Join(envoys, ", "), maxError)
		}
		out = append(out, "Nomad does not know whether the nodes have the program envoy: put it on their PATH"+version)
	}
	if n := len(nodes.Ready) - nodes.Meshes(); n > 0 {
		out = append(out, fmt.Sprintf("%d of %s can run no instance in the mesh: %s", n, wadi.Quantity(len(nodes.Ready), "node"), whyNoNodes(nodes)))
	}
	return out
}

// whyNoMesh says what the mesh lacks.
func whyNoMesh(c Cluster) string {
	switch {
	case c.Consul.Connect.Err != nil:
		return "whether Consul Connect is on is " + notKnown(c.Consul.Connect.Err)
	case len(c.Consul.Connect.Value) == 0:
		return "Consul Connect is off"
	}
	return whyNoNodes(c.nodes())
}

func whyNoNodes(nodes survey.Nodes) string {
	if n := len(nodes.WithoutPlugins); n > 0 {
		return fmt.Sprintf("%s %s CNI plugins (nomad node status -filter '%s')", wadi.Quantity(n, "node"), wadi.Plural(n, "lacks", "lack"), survey.WithoutPlugins())
	}
	n := len(nodes.WithoutConsul)
	return fmt.Sprintf("%s %s no Consul with Connect and gRPC (nomad node status -filter '%s')", wadi.Quantity(n, "node"), wadi.Plural(n, "has", "have"), survey.WithoutConsul)
}
