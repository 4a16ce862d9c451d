package main

import (
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/internal/policies"
)

// The systems that have policies, as -only names them.
const (
	ofNomad  = "nomad"
	ofConsul = "consul"
)

// policyFlags are the doctor's flags about policies.
type policyFlags struct {
	wanted     bool
	only       string
	prefix     string
	namespaces string
	intentions bool

	hostVolumes string
	workload    policies.Workload // Without a job: the agents have tokens.
}

func (p *policyFlags) register(fs *flag.FlagSet) {
	fs.BoolVar(&p.wanted, "policies", false, "print the least ACL policies of the agents' tokens, and ask no agent")
	fs.StringVar(&p.only, "only", "", "with -policies: the policy of this `system`, nomad or consul")
	fs.StringVar(&p.prefix, "prefix", policies.DefaultPrefix, "with -policies: the agents' consul.prefix, the `path` of their keys")
	fs.StringVar(&p.namespaces, "namespaces", policies.Everywhere, "with -policies: Nomad's `namespaces` with services, as in a,b; * in a name is any text")
	fs.StringVar(&p.workload.Job, "job", "", "with -policies: the Nomad `job` that agents run in, whose identities are their tokens")
	fs.StringVar(&p.workload.Namespace, "job-namespace", "default", "with -job: its `namespace`")
	fs.StringVar(&p.hostVolumes, "host-volumes", "", "with -policies: host `volumes` that services mount, as in a,b; * in a name is any text")
	fs.BoolVar(&p.intentions, "intentions", true, "with -policies: services may have an intentions block")
}

// namespaceRule is Nomad's for a namespace in a policy.
var namespaceRule = regexp.MustCompile(`^[a-zA-Z0-9*-]{1,128}$`)

// jobRule is that of a job whose name policies have, too.
var jobRule = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9-]{0,127}$`)

// options are what the flags say of the installation.
func (p *policyFlags) options() (policies.Options, error) {
	if p.only != "" && p.only != ofNomad && p.only != ofConsul {
		return policies.Options{}, usagef("-only %q: it is nomad or consul", p.only)
	}
	prefix, ok := config.KeyPrefix(p.prefix)
	if !ok {
		return policies.Options{}, usagef("-prefix %q: it is a path without a slash in front, such as wadi/", p.prefix)
	}
	if job := p.workload.Job; job != "" && !jobRule.MatchString(job) {
		return policies.Options{}, usagef("-job %q: it is the name of a job, and of its policies: letters, digits and dashes, at most 128", job)
	}
	if ns := p.workload.Namespace; !namespaceRule.MatchString(ns) || strings.Contains(ns, "*") {
		return policies.Options{}, usagef("-job-namespace %q: it is one namespace: letters, digits and dashes, at most 128", ns)
	}
	o := policies.Options{Prefix: prefix, Intentions: p.intentions}
	if p.hostVolumes != "" {
		for name := range strings.SplitSeq(p.hostVolumes, ",") {
			name = strings.TrimSpace(name)
			if !namespaceRule.MatchString(name) {
				return policies.Options{}, usagef("-host-volumes: %q is no name of a volume: letters, digits and dashes, at most 128; * is any text", name)
			}
			o.HostVolumes = append(o.HostVolumes, name)
		}
	}
	var err error
	if o.Namespaces, err = namesOfNamespaces(p.namespaces); err != nil {
		return policies.Options{}, usagef("-namespaces: %v", err)
	}
	return o, nil
}

// namesOfNamespaces are the names, each once, in a list such as a,b.
func namesOfNamespaces(list string) (names []string, err error) {
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if !namespaceRule.MatchString(name) {
			return nil, fmt.Errorf("%q is no name of a namespace: letters, digits and dashes, at most 128; * is any text", name)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// unused is the complaint about a flag that says nothing without -policies.
func (p *policyFlags) unused() error {
	if p.only != "" || p.prefix != policies.DefaultPrefix || p.namespaces != policies.Everywhere || !p.intentions ||
		p.workload.Job != "" || p.workload.Namespace != "default" || p.hostVolumes != "" {
		return usagef("-only, -prefix, -namespaces, -host-volumes, -job, -job-namespace and -intentions go with -policies")
	}
	return nil
}

// commands give the agents a policy that is in the file.
func (p *policyFlags) commands(system, file string) []string {
	switch {
	case p.workload.Job != "" && system == ofNomad:
		return p.workload.NomadCommands(file)
	case p.workload.Job != "":
		return p.workload.ConsulCommands(file)
	case system == ofNomad:
		return []string{"nomad acl policy apply wadi " + file}
	}
	return []string{"consul acl policy create -name wadi -rules @" + file}
}

// title is the comment above a policy: whose it is, and the commands that give it.
func (p *policyFlags) title(system, name string) string {
	if p.workload.Job == "" {
		return "# The agents' token in " + name + ": " + p.commands(system, "FILE")[0]
	}
	title := fmt.Sprintf("# The job %s, in %s:", p.workload.Job, name)
	for _, command := range p.commands(system, "FILE") {
		title += "\n#   " + command
	}
	return title
}

// policyJSON is a policy as -json prints it.
type policyJSON struct {
	HCL      string      `json:"hcl"`
	Commands []string    `json:"commands"` // With the policy in FILE.
	Rights   []rightJSON `json:"rights"`
}

type rightJSON struct {
	Resource string `json:"resource"`
	Right    string `json:"right"`
	Access   string `json:"access"`
	Without  string `json:"without"`
}

func jsonOf(p policies.Policy, commands []string) policyJSON {
	out := policyJSON{HCL: p.HCL(), Commands: commands}
	for _, rule := range p {
		for _, r := range rule.Rights {
			name := r.Name
			if rule.List != "" {
				name = rule.List
			}
			out.Rights = append(out.Rights, rightJSON{rule.Resource, name, r.Access, r.Without})
		}
	}
	return out
}

// showPolicies prints the policies of both systems, or of one.
func (c *call) showPolicies(p policyFlags) error {
	o, err := p.options()
	if err != nil {
		return err
	}
	all := []struct {
		system, name string
		policy       policies.Policy
	}{
		{ofNomad, "Nomad", policies.Nomad(o)},
		{ofConsul, "Consul", policies.Consul(o)},
	}
	document := map[string]policyJSON{}
	var texts []string
	for _, each := range all {
		if p.only != "" && p.only != each.system {
			continue
		}
		document[each.system] = jsonOf(each.policy, p.commands(each.system, "FILE"))
		texts = append(texts, p.title(each.system, each.name)+"\n\n"+each.policy.HCL())
	}
	if c.json {
		return c.printJSON(document)
	}
	c.printf("%s", strings.Join(texts, "\n"))
	return nil
}
