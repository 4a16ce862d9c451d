package system_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/jobspecs/system"
)

func jobs() []string { return []string{system.Agents, system.Nodes} }

func TestNames(t *testing.T) {
	for _, name := range []string{system.Agents, system.Nodes, system.Config, system.MeshConfig} {
		if !slices.Contains(system.Names(), name) {
			t.Errorf("no file %s", name)
		}
	}
	if n := len(system.Names()); n != 4 {
		t.Errorf("%d files: does a constant name each?", n)
	}
}

// Each file is formatted, and each variable says what it is.
func TestFiles(t *testing.T) {
	for _, name := range system.Names() {
		src, err := system.Source(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(src, hclwrite.Format(src)) {
			t.Errorf("%s is not formatted", name)
		}
	}
	for _, job := range jobs() {
		all, err := system.Variables(job)
		if err != nil || len(all) < 5 {
			t.Fatalf("%s: %d variables: %v", job, len(all), err)
		}
		src, _ := system.Source(job)
		for _, v := range all {
			if !strings.HasSuffix(v.Description, ".") || v.Type == "" {
				t.Errorf("%s: %+v", job, v)
			}
			if !bytes.Contains(src, []byte("var."+v.Name)) {
				t.Errorf("%s: nothing uses %s", job, v.Name)
			}
		}
	}
}

// An agent starts with each configuration.
func TestConfigurations(t *testing.T) {
	for _, name := range []string{system.Config, system.MeshConfig} {
		got, problems := config.Load([]string{name}, func(string) string { return "" }, config.Flags{Name: "a"})
		if len(problems) > 0 || !strings.Contains(string(got.QueueProxyTask), "{{ env `WADI_BIN` }}/queue-proxy") {
			t.Errorf("%s: %v: %s", name, problems, got.QueueProxyTask)
		}
	}
	// Both jobs have the same folder of programs, where the configurations look for them.
	folders := map[string]bool{}
	for _, job := range jobs() {
		all, err := system.Variables(job)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(all, func(v system.Variable) bool { return v.Name == "bin" })
		folders[all[i].Default.AsString()] = true
	}
	if len(folders) != 1 {
		t.Errorf("folders of programs: %v", folders)
	}
}

// A filled job is the same file with other defaults, and takes values that would be
// templates in HCL.
func TestFill(t *testing.T) {
	values := map[string]cty.Value{
		"release": cty.StringVal("https://example.com/${x}.tar.gz"), "api_port": cty.NumberIntVal(1), "apart": cty.False,
		"datacenters": cty.ListVal([]cty.Value{cty.StringVal("eu-1"), cty.StringVal("eu-2")}),
	}
	filled, err := system.Fill(system.Agents, values)
	if err != nil {
		t.Fatal(err)
	}
	src, _ := system.Source(system.Agents)
	before, after := strings.Split(string(src), "\n"), strings.Split(string(filled), "\n")
	if len(before) != len(after) {
		t.Fatalf("%d lines, want %d", len(after), len(before))
	}
	changed := 0
	for i := range before {
		if before[i] != after[i] {
			changed++
			if !strings.HasPrefix(after[i], "  default     = ") {
				t.Errorf("line %d: %q", i+1, after[i])
			}
		}
	}
	if changed != len(values) {
		t.Errorf("%d lines differ, want %d", changed, len(values))
	}
	if _, diags := hclwrite.ParseConfig(filled, "filled", hcl.InitialPos); diags.HasErrors() {
		t.Fatal(diags)
	}
	if !strings.Contains(string(filled), `"https://example.com/$${x}.tar.gz"`) {
		t.Errorf("a value became a template:\n%s", filled)
	}
}

// All mistakes are named at once.
func TestFill_Refused(t *testing.T) {
	_, err := system.Fill(system.Agents, map[string]cty.Value{
		"nothing": cty.True, "api_port": cty.StringVal("1"), "agents": cty.NullVal(cty.Number), "datacenters": cty.StringVal("*"), "job": cty.StringVal("w"), "user": {},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`there is no variable "nothing"`, "variable api_port: a number is required, got string", "variable agents: a number is required",
		"variable datacenters: a list(string) is required, got string", "variable user: a string is required",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "variable job") {
		t.Error(err)
	}
	if _, err := system.Fill("other.hcl", nil); err == nil {
		t.Error("there is no such job")
	}
}
