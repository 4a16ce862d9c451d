package main

import (
	"context"
	"flag"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/internal/policies"
	"github.com/wadi-run/wadi/internal/setup"
	"github.com/wadi-run/wadi/jobspecs"
)

// initFlags are the flags of wadi init. Empty: not given, so that it is asked or suggested.
type initFlags struct {
	dir              string
	force, yes, json bool
	cluster          config.Flags

	runsAs, mesh, driver, envoy string
	program                     string
	bin, image, domain          string
	namespaces, prefix          string
	release, checksum           string
}

// Where the queue-proxy's program is.
const (
	programOnNodes  = "nodes"
	programOnAgents = "agents"
)

func initCommand() command {
	var f initFlags
	return command{
		usage: "wadi init [options]", synopsis: "Write the agents' configuration, policies and jobs for a cluster",
		help: `
It asks Nomad and Consul what there is: ACLs, nodes with their drivers and CNI
plugins, Connect, Envoy. Then it asks what to do about it, and writes into a
folder

  wadi.hcl             the agents' configuration, with comments
  nomad-policy.hcl     the least rights of the agents in Nomad, if it has ACLs
  consul-policy.hcl    the same in Consul
  wadi-node.nomad.hcl  the Nomad job that puts the programs on each node, if they
                       run there
  wadi.nomad.hcl       the Nomad job of the agents, with -runs-as job

and prints what to do with them. It changes nothing in the cluster, and writes no
token. Nomad and Consul are those of NOMAD_ADDR, NOMAD_TOKEN, CONSUL_HTTP_ADDR,
CONSUL_HTTP_TOKEN and their other variables. Without rights to read something it
is taken for usual.

In a script, -yes takes what is suggested where no flag says otherwise.`,
		flags: func(fs *flag.FlagSet) { f.register(fs) },
		run:   func(ctx context.Context, c *call) error { return c.runInit(ctx, f) },
	}
}

func (f *initFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&f.dir, "dir", "wadi", "`folder` of the files; it is made if it is not there")
	fs.BoolVar(&f.force, "force", false, "replace files that are there")
	fs.BoolVar(&f.json, "json", false, "print JSON")
	fs.BoolVar(&f.yes, "yes", false, "ask nothing: take what the flags say, and else what is suggested")
	fs.StringVar(&f.cluster.NomadAddress, "nomad-address", "", "`URL` of Nomad (NOMAD_ADDR)")
	fs.StringVar(&f.cluster.ConsulAddress, "consul-address", "", "`URL` of Consul (CONSUL_HTTP_ADDR)")
	fs.StringVar(&f.runsAs, "runs-as", "", "`how` agents run: job (of Nomad), or service (of each machine)")
	fs.StringVar(&f.mesh, "mesh", "", "`whether` services are in Consul's mesh: on or off")
	fs.StringVar(&f.driver, "driver", "", "Nomad `driver` of the queue-proxy: raw_exec, exec or docker")
	fs.StringVar(&f.envoy, "envoy", "", "`how` Envoy runs: docker, in the version that Consul wants; or program, from the nodes' PATH")
	fs.StringVar(&f.program, "program", "", "`where` the queue-proxy's program is, with -driver raw_exec or exec: on each node; or on agents, from which nodes fetch it")
	fs.StringVar(&f.bin, "bin", setup.DefaultBin, "`folder` of Wadi's programs on the nodes")
	fs.StringVar(&f.image, "image", setup.DefaultImage, "`image` of the queue-proxy, with -driver docker")
	fs.StringVar(&f.domain, "domain", "", "the gateway's `domain`: a service is NAME.DOMAIN")
	fs.StringVar(&f.namespaces, "namespaces", "", "Nomad's `namespaces` with services, as in a,b; * in a name is any text")
	fs.StringVar(&f.prefix, "prefix", policies.DefaultPrefix, "`path` of the agents' keys in Consul")
	fs.StringVar(&f.release, "release", "", "`URL` of the release archive, for the jobs")
	fs.StringVar(&f.checksum, "checksum", "", "its `checksum`, such as sha256:…")
}

// runInit surveys, asks, and writes.
func (c *call) runInit(ctx context.Context, f initFlags) error {
	c.json = f.json
	if err := f.check(); err != nil {
		return err
	}
	ask, interactive := c.questions()
	switch {
	case !f.yes && c.json:
		return usagef("-json goes with -yes: nothing is asked then")
	case !f.yes && !interactive:
		return usagef("without a terminal nothing can be asked; -yes takes what the flags say, and else what is suggested")
	}
	if err := checkFolder(f.dir, f.force); err != nil {
		return err
	}
	cfg, problems := config.Load(nil, func(k string) string { return c.env[k] }, f.connection())
	if jobspecs.HasErrors(problems) {
		return usagef("%s", problems[0])
	}
	cluster, err := c.survey(ctx, cfg)
	if err != nil {
		return err
	}
	choice := setup.Suggest(cluster)
	choice.Nomad, choice.Consul, choice.Region = backendOf(cfg.Nomad.Address, cfg.Nomad.TLS), backendOf(cfg.Consul.Address, cfg.Consul.TLS), cfg.Nomad.Region
	choice.Nomad.ServerName, choice.Consul.ServerName = c.env[nomadServerName], c.env[consulServerName]
	if !f.yes {
		c.showFound(cluster)
		if err := f.ask(ctx, ask, cluster, choice); err != nil {
			return err
		}
	}
	if err := f.apply(&choice); err != nil {
		return err
	}
	files, err := setup.Files(cluster, choice)
	if err != nil {
		return err
	}
	if err := writeFiles(f.dir, files, f.force); err != nil {
		return err
	}
	return c.showSetup(f, cluster, choice, files)
}

// check validates what can be validated without a cluster.
func (f *initFlags) check() error {
	for _, v := range []struct {
		name, value string
		allowed     []string
	}{
		{"-runs-as", f.runsAs, []string{string(setup.AsJob), string(setup.AsService)}},
		{"-mesh", f.mesh, []string{"on", "off"}},
		{"-driver", f.driver, []string{"raw_exec", "exec", "docker"}},
		{"-envoy", f.envoy, []string{"docker", "program"}},
		{"-program", f.program, []string{programOnNodes, programOnAgents}},
	} {
		if v.value != "" && !slices.Contains(v.allowed, v.value) {
			return usagef("%s %q: it is %s", v.name, v.value, strings.Join(v.allowed, " or "))
		}
	}
	if !strings.HasPrefix(f.bin, "/") {
		return usagef("-bin %q: it is a folder of the nodes, such as %s", f.bin, setup.DefaultBin)
	}
	if f.dir == "" {
		return usagef("-dir is empty: it is a folder, such as wadi")
	}
	if f.program == programOnAgents && f.driver == "docker" {
		return usagef("-program agents goes with -driver raw_exec or exec: with docker the queue-proxy is an image")
	}
	if f.checksum != "" && f.release == "" {
		return usagef("-checksum goes with -release")
	}
	return nil
}

// connection are the flags of config.Load. Dev: there is no queue_proxy yet.
func (f *initFlags) connection() config.Flags {
	out := f.cluster
	out.Dev = true
	return out
}

func backendOf(address string, t config.TLS) setup.Backend {
	return setup.Backend{Address: address, CAFile: absolute(t.CAFile), CertFile: absolute(t.CertFile), KeyFile: absolute(t.KeyFile), SkipVerify: t.SkipVerify}
}

// absolute is a file's path from anywhere; empty stays empty.
func absolute(path string) string {
	if path == "" {
		return ""
	}
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

// apply puts what the flags, or the answers, say over what was suggested.
func (f *initFlags) apply(choice *setup.Choice) error {
	set := func(dst *string, value string) {
		if value != "" {
			*dst = value
		}
	}
	set((*string)(&choice.RunsAs), f.runsAs)
	set(&choice.Driver, f.driver)
	set(&choice.Bin, f.bin)
	set(&choice.Image, f.image)
	set(&choice.Domain, f.domain)
	set(&choice.Release, f.release)
	set(&choice.Checksum, f.checksum)
	if f.mesh != "" {
		choice.Mesh = f.mesh == "on"
	}
	choice.Fetch = f.program == programOnAgents
	if f.envoy != "" {
		choice.EnvoyImage = f.envoy == "docker"
	}
	o, err := (&policyFlags{prefix: f.prefix, namespaces: orText(f.namespaces, strings.Join(choice.Namespaces, ",")), workload: policies.Workload{Namespace: "default"}}).options()
	if err != nil {
		return err
	}
	choice.Prefix, choice.Namespaces = o.Prefix, o.Namespaces
	return nil
}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
