package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/internal/policies"
)

// policiesOf runs the doctor's -policies where there is no agent.
func policiesOf(t *testing.T, args ...string) output {
	t.Helper()
	return (&bench{}).wadiIn(t.Context(), "", []string{"WADI_ADDR=http://127.0.0.1:1"}, append([]string{"doctor", "-policies"}, args...)...)
}

func TestDoctorPolicies_Golden(t *testing.T) {
	for name, args := range map[string][]string{
		"doctor_policies.txt":      {},
		"doctor_policies_some.txt": {"-prefix", "teams/one", "-namespaces", "team, shop-*,team", "-intentions=false"},
		"doctor_policies.json":     {"-json"},
		"doctor_policies_job.txt":  {"-job", "wadi-agents", "-job-namespace", "infra", "-host-volumes", "shared, data-*"},
	} {
		t.Run(name, func(t *testing.T) {
			o := policiesOf(t, args...)
			if o.code != 0 || o.stderr != "" {
				t.Errorf("got %+v", o)
			}
			o.golden(t, name)
		})
	}
}

// One policy at a time is the half of both, and can be piped to its system as it is.
func TestDoctorPolicies_Only(t *testing.T) {
	nomad, consul := policiesOf(t, "-only", "nomad"), policiesOf(t, "-only", "consul")
	if both := policiesOf(t); nomad.code != 0 || consul.code != 0 || both.stdout != nomad.stdout+"\n"+consul.stdout {
		t.Errorf("got %+v and %+v", nomad, consul)
	}
	if strings.Contains(nomad.stdout, "key_prefix") || strings.Contains(consul.stdout, "namespace") {
		t.Errorf("they have each other's rules: %+v, %+v", nomad, consul)
	}
	var got map[string]struct{ HCL string }
	o := policiesOf(t, "-json", "-only", "consul")
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil || len(got) != 1 || !strings.HasSuffix(consul.stdout, "\n\n"+got["consul"].HCL) {
		t.Errorf("%v: got %+v", err, o)
	}
}

func TestDoctorPolicies_Usage(t *testing.T) {
	const usage = "\nUsage: wadi doctor [options] (-h for more)\n"
	for want, args := range map[string][]string{
		`-only "vault": it is nomad or consul`:                                                                   {"-policies", "-only", "vault"},
		`-prefix "/wadi": it is a path without a slash in front, such as wadi/`:                                  {"-policies", "-prefix", "/wadi"},
		`-prefix "": it is a path without a slash in front, such as wadi/`:                                       {"-policies", "-prefix", ""},
		`-namespaces: "" is no name of a namespace: letters, digits and dashes, at most 128; * is any text`:      {"-policies", "-namespaces", "a,"},
		`-namespaces: "a\"{}" is no name of a namespace: letters, digits and dashes, at most 128; * is any text`: {"-policies", "-namespaces", `a"{}`},
		`-only, -prefix, -namespaces, -host-volumes, -job, -job-namespace and -intentions go with -policies`:     {"-intentions=false"},
		`-host-volumes: "\"" is no name of a volume: letters, digits and dashes, at most 128; * is any text`:     {"-policies", "-host-volumes", `"`},
		`-job "a b": it is the name of a job, and of its policies: letters, digits and dashes, at most 128`:      {"-policies", "-job", "a b"},
		`-job "'": it is the name of a job, and of its policies: letters, digits and dashes, at most 128`:        {"-policies", "-job", "'"},
		`-job-namespace "*": it is one namespace: letters, digits and dashes, at most 128`:                       {"-policies", "-job", "wadi", "-job-namespace", "*"},
		`too many arguments: nomad`: {"-policies", "nomad"},
	} {
		o := (&bench{}).wadiIn(t.Context(), "", nil, append([]string{"doctor"}, args...)...)
		o.want(t, exitUsage, "", "Error: "+want+usage)
	}
	for _, args := range [][]string{{"-only", "nomad"}, {"-prefix", "a/"}, {"-namespaces", "a"}, {"-job", "a"}, {"-job-namespace", "a"}, {"-host-volumes", "a"}} {
		if o := (&bench{}).wadiIn(t.Context(), "", nil, append([]string{"doctor"}, args...)...); o.code != exitUsage {
			t.Errorf("%v: got %+v", args, o)
		}
	}
}

// docs/security.md has the policies as the command prints them, and each of its tests.
func TestDocs_Policies(t *testing.T) {
	doc, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "\n## Rights of the agents\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)\n```hcl\n(.*?)```\n").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, m[1])
	}
	want := []string{
		policiesOf(t, "-only", "nomad").stdout,
		policiesOf(t, "-only", "consul").stdout,
		policies.OwnServices().HCL() + "\n" + policies.Service("hello", true).HCL(),
	}
	if diff := cmp.Diff(want, blocks); diff != "" {
		t.Errorf("(-printed +on the page):\n%s", diff)
	}
	for _, m := range regexp.MustCompile(`(?m)^wadi (doctor .*?)(?: +\||$)`).FindAllStringSubmatch(section, -1) {
		if o := (&bench{}).wadiIn(t.Context(), "", nil, strings.Fields(m[1])...); o.code != 0 {
			t.Errorf("%q: got %+v", m[0], o)
		}
	}
	var rows []string
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "| "), " | ")
		if len(cells) != 3 || !strings.HasPrefix(cells[0], "`") {
			continue
		}
		rows = append(rows, strings.ReplaceAll(cells[0], "`", ""))
		m := regexp.MustCompile("^`(Test\\w+)`, (\\S+_test\\.go)$").FindStringSubmatch(cells[2])
		if m == nil {
			t.Errorf("%q names no test", line)
			continue
		}
		if file, err := os.ReadFile("../../" + m[2]); err != nil || !strings.Contains(string(file), "\nfunc "+m[1]+"(") {
			t.Errorf("%s has no %s (%v)", m[2], m[1], err)
		}
	}
	if diff := cmp.Diff(rightsOf(t), rows); diff != "" {
		t.Errorf("rows (-rights printed +on the page):\n%s", diff)
	}
}

// rightsOf are all rights of the policies, in order, each once.
func rightsOf(t *testing.T) (all []string) {
	t.Helper()
	var got map[string]policyJSON
	o := policiesOf(t, "-json")
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil {
		t.Fatal(err)
	}
	for _, r := range slices.Concat(got[ofNomad].Rights, got[ofConsul].Rights) {
		name := r.Access // Of a list.
		if r.Right != "capabilities" {
			name = r.Resource + " " + r.Right + " = " + r.Access
		}
		all = append(all, name)
	}
	return all
}
