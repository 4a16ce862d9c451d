package setup_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2/hclwrite"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/internal/setup"
	"github.com/wadi-run/wadi/internal/survey"
	"github.com/wadi-run/wadi/jobspecs/system"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// node has drivers that are healthy.
func node(id string, drivers ...string) survey.Node {
	n := survey.Node{ID: id, Name: "node-" + id, Datacenter: "dc1", Pool: "default", Version: "1.11.3", Drivers: map[string]survey.Driver{}}
	for _, d := range drivers {
		n.Drivers[d] = survey.Driver{Healthy: true}
	}
	return n
}

// plain is a cluster without ACLs, with the mesh on each of these nodes.
func plain(nodes ...survey.Node) (c setup.Cluster) {
	c.Nomad.Servers.Value = []survey.Server{{Name: "a", Region: "global", Datacenter: "dc1", Version: "1.11.3"}}
	c.Nomad.Namespaces.Value = []string{"default"}
	c.Nomad.Nodes.Value = survey.Nodes{Ready: nodes}
	c.Nomad.Agent.Value = survey.NomadAgent{Client: true, MaxKillTimeout: time.Hour, Consul: "http://localhost:8500"}
	c.Consul.Agent.Value = survey.ConsulAgent{Node: "n", Datacenter: "dc1", Version: "1.22.7", Envoys: []string{"1.35.9", "1.34.13"}, GRPC: true}
	c.Consul.Connect.Value = []survey.Root{{Active: true}}
	return c
}

// guarded has ACLs, Docker on all nodes and a pool of its own.
func guarded() setup.Cluster {
	one, two := node("1", "docker", "exec"), node("2", "docker", "exec")
	one.Pool, two.Pool = "wadi", "wadi"
	c := plain(one, two)
	c.Nomad.ACLs.Value, c.Consul.ACLs.Value = true, true
	c.Nomad.Agent.Value.MaxKillTimeout = 30 * time.Second
	c.Nomad.Agent.Value.ImageGC = survey.ImageGC{On: true, Delay: 3 * time.Minute}
	c.Nomad.Agent.Value.Consul = "https://127.0.0.1:8501"
	return c
}

// blind is a cluster of which the tokens may read next to nothing.
func blind() (c setup.Cluster) {
	refused := fmt.Errorf("%w: \x1b[31mPermission denied\n}", wadi.ErrForbidden)
	c.Nomad.ACLs.Value, c.Consul.ACLs.Value = true, true
	c.Nomad.Servers.Err, c.Nomad.Nodes.Err, c.Nomad.Agent.Err, c.Nomad.Namespaces.Err = refused, refused, refused, refused
	c.Consul.Agent.Err, c.Consul.Connect.Err, c.Consul.Overrides.Err = refused, refused, refused
	return c
}

// cases are clusters, and what was chosen besides the suggestion.
func cases() map[string]struct {
	cluster setup.Cluster
	choose  func(*setup.Choice)
} {
	type of = struct {
		cluster setup.Cluster
		choose  func(*setup.Choice)
	}
	service := func(c *setup.Choice) { c.RunsAs = setup.AsService }
	bare := plain(node("1", "raw_exec"))
	bare.Nomad.Nodes.Value.WithoutPlugins = []string{"1"}
	return map[string]of{
		"plain-job":     {plain(node("1", "raw_exec", "exec")), func(*setup.Choice) {}},
		"plain-service": {plain(node("1", "raw_exec", "exec")), service},
		"fetch-job":     {plain(node("1", "exec")), func(c *setup.Choice) { c.Fetch, c.Release = true, "https://example.com/wadi.tar.gz" }},
		"fetch-service": {plain(node("1", "raw_exec")), func(c *setup.Choice) { service(c); c.Fetch = true }},
		"no-plugins":    {bare, service},
		"guarded-job": {guarded(), func(c *setup.Choice) {
			c.Nomad.Address, c.Release, c.Checksum = "https://nomad.example.com:4646", "https://example.com/wadi.tar.gz", "sha256:0"
		}},
		"guarded-service": {guarded(), func(c *setup.Choice) {
			service(c)
			c.Domain, c.Prefix, c.Region, c.Namespaces = "apps.example.com", "teams/wadi/", "eu", []string{"team-*", "shop"}
			c.Nomad.Address, c.Nomad.ServerName = "https://nomad.example.com:4646", "server.global.nomad"
			c.Nomad.CAFile, c.Nomad.CertFile, c.Nomad.KeyFile = "/etc/nomad/ca.pem", "/etc/nomad/wadi.pem", "/etc/nomad/wadi.key"
			c.Consul.Address, c.Consul.SkipVerify = "https://127.0.0.1:8501", true
			c.Driver = "docker"
		}},
		"blind-job":      {blind(), func(c *setup.Choice) { c.Prefix = "x/"; c.Region = "eu" }},
		"docker-service": {plain(node("1", "docker")), func(*setup.Choice) {}},
		"docker-job": {func() setup.Cluster {
			c := plain(node("1", "docker"), node("2", "docker"))
			c.Nomad.Agent.Value = survey.NomadAgent{} // A server.
			return c
		}(), func(c *setup.Choice) { c.RunsAs = setup.AsJob }},
		"no-nodes": {plain(), func(*setup.Choice) {}},
		"front-pool": {func() setup.Cluster {
			front := node("9")
			front.Pool = "front"
			return plain(node("1", "raw_exec"), front)
		}(), func(*setup.Choice) {}},
		"many": {func() setup.Cluster { c := plain(node("1", "raw_exec")); c.Nomad.Nodes.Value.More = true; return c }(), func(*setup.Choice) {}},
	}
}

func choose(c setup.Cluster, change func(*setup.Choice)) setup.Choice {
	choice := setup.Suggest(c)
	choice.Nomad.Address, choice.Consul.Address = "http://127.0.0.1:4646", "http://127.0.0.1:8500"
	change(&choice)
	return choice
}

// What is found, chosen, noted and to be done next, and the configuration, for each kind of
// cluster.
func TestFiles_Golden(t *testing.T) {
	for name, tt := range cases() {
		t.Run(name, func(t *testing.T) {
			choice := choose(tt.cluster, tt.choose)
			files, err := setup.Files(tt.cluster, choice)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, n := range setup.Notes(tt.cluster, choice) {
				fmt.Fprintf(&b, "note: %s\n", n)
			}
			for _, s := range setup.Steps(tt.cluster, choice) {
				fmt.Fprintf(&b, "step: %s: %s\n", s.What, s.Command)
			}
			for _, f := range files {
				fmt.Fprintf(&b, "file: %s: %s\n", f.Name, f.What)
			}
			for _, f := range files[1:] { // Of a job, what is not as in the file that it is made from.
				if source, err := system.Source(f.Name); err == nil {
					before := strings.Split(string(source), "\n")
					for i, line := range strings.Split(f.Text, "\n") {
						if !slices.Contains(before, line) {
							fmt.Fprintf(&b, "%s:%d: %s\n", f.Name, i+1, line)
						}
					}
				}
			}
			b.WriteString("\n" + files[0].Text)
			golden(t, name+".txt", b.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// An agent takes each configuration, with what was chosen in it; each file is formatted,
// holds no control character and no secret.
func TestFiles_AgentTakesThem(t *testing.T) {
	for name, tt := range cases() {
		choice := choose(tt.cluster, tt.choose)
		files, err := setup.Files(tt.cluster, choice)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(f.Text), 0o600); err != nil {
				t.Fatal(err)
			}
			if formatted := hclwrite.Format([]byte(f.Text)); f.Text != string(formatted) {
				t.Errorf("%s: %s is not formatted:\n%s", name, f.Name, cmp.Diff(string(formatted), f.Text))
			}
			if strings.ContainsFunc(f.Text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }) {
				t.Errorf("%s: %s has control characters", name, f.Name)
			}
		}
		got, problems := config.Load([]string{filepath.Join(dir, setup.ConfigFile)}, func(string) string { return "" }, config.Flags{})
		problems = slices.DeleteFunc(problems, func(p wadi.Problem) bool { return strings.Contains(p.Message, "there is no file") })
		if len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
			continue
		}
		s := got.Defaults.Service()
		if (s.Mesh == wadi.MeshEnvoy) != choice.Mesh || got.Gateway.Domain != choice.Domain || got.Consul.Prefix != choice.Prefix || got.Nomad.Region != choice.Region ||
			(s.NodePool == "wadi") != strings.HasPrefix(name, "guarded") || (got.SidecarTask != nil) != (choice.Mesh && !choice.EnvoyImage) || got.Nomad.TLS.CAFile != choice.Nomad.CAFile || got.Nomad.Token != "" {
			t.Errorf("%s: got %+v of %+v", name, got, choice)
		}
	}
}

// Names of a cluster can't break out of a comment, or of a value.
func TestFiles_Hostile(t *testing.T) {
	evil := "x\"}\nhttp { auth = \"none\" }\n${file(\"/etc/passwd\")}\x1b[2J"
	n := node("1", "raw_exec")
	n.Datacenter = evil // Nomad itself refuses such pools.
	c := plain(n)
	c.Nomad.Servers.Value[0].Version, c.Nomad.Namespaces.Value, c.Consul.Agent.Value.Datacenter, c.Consul.Agent.Value.Version = evil, []string{evil}, evil, evil
	c.Consul.Agent.Value.Envoys = []string{evil}
	choice := choose(c, func(o *setup.Choice) { o.RunsAs = setup.AsService; o.Bin = "/" + evil })
	files, err := setup.Files(c, choice)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "wadi.hcl")
	if err := os.WriteFile(file, []byte(files[0].Text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, problems := config.Load([]string{file}, func(string) string { return "" }, config.Flags{})
	if len(problems) > 0 || got.HTTP.Auth != wadi.AuthNomad {
		t.Errorf("got %+v, %v", got.HTTP, problems)
	}
	i := slices.IndexFunc(files, func(f setup.File) bool { return f.Name == setup.NodesJobFile })
	if !strings.Contains(files[i].Text, `$${file(\"/etc/passwd\")}`) {
		t.Errorf("the job has %s", files[i].Text)
	}
}

// Nomad renders the configuration of agents in a job: names of a cluster are no template.
func TestFiles_NoTemplate(t *testing.T) {
	n := node("1", "raw_exec")
	n.Datacenter = "{{ key `secret` }}{{{"
	c := plain(n)
	texts := map[setup.RunsAs]string{}
	for _, as := range []setup.RunsAs{setup.AsJob, setup.AsService} {
		files, err := setup.Files(c, choose(c, func(o *setup.Choice) { o.RunsAs, o.Bin = as, "/opt/{{env `HOME`}}" }))
		if err != nil {
			t.Fatal(err)
		}
		texts[as] = files[0].Text
	}
	parsed, err := template.New("").Parse(texts[setup.AsJob])
	if err != nil {
		t.Fatal(err)
	}
	var rendered strings.Builder
	if err := parsed.Execute(&rendered, nil); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(rendered.String(), "\n") {
		if (strings.HasPrefix(line, "# nodes") || strings.Contains(line, "command =")) && !strings.Contains(texts[setup.AsService], line+"\n") {
			t.Errorf("rendered, it has %s", line)
		}
	}
	if !strings.Contains(rendered.String(), n.Datacenter) {
		t.Errorf("rendered, it is %s", rendered.String())
	}
}

// The best driver is one that all nodes have.
func TestSuggest(t *testing.T) {
	for name, tt := range map[string]struct {
		cluster      setup.Cluster
		driver       string
		mesh, docker bool
	}{
		"all have all":            {plain(node("1", "docker", "raw_exec")), "raw_exec", true, true},
		"Docker alone":            {plain(node("1", "docker"), node("2", "docker")), "docker", true, true},
		"exec on more":            {plain(node("1", "raw_exec", "exec"), node("2", "exec")), "exec", false, false},
		"Envoy would run nowhere": {plain(node("1", "exec")), "exec", false, false},
		"Connect is off":          {func() setup.Cluster { c := plain(node("1", "raw_exec")); c.Consul.Connect.Value = nil; return c }(), "raw_exec", false, false},
		"nothing is known":        {blind(), "raw_exec", false, false},
	} {
		got := setup.Suggest(tt.cluster)
		if got.Driver != tt.driver || got.Mesh != tt.mesh || got.EnvoyImage != tt.docker {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}
