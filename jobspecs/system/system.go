// Package system holds the Nomad jobs that run Wadi itself, and fills in their variables.
//
// It promises that a filled job is the file of this folder with other defaults, and nothing
// else: it still takes every variable. It refuses unknown variables and values of another
// type. It asks no cluster what fits.
package system

import (
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// The jobs, and the configurations of agents in them.
const (
	Agents     = "wadi.nomad.hcl"      // The agents.
	Nodes      = "wadi-node.nomad.hcl" // Puts the programs on each node.
	Config     = "wadi.hcl"            // Services without the mesh.
	MeshConfig = "wadi-mesh.hcl"       // Services in the mesh.
)

//go:embed *.hcl
var files embed.FS

// Names are the names of all files, sorted.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // They are linked.
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// Source returns a file as it is; the error says that there is none of this name.
func Source(name string) ([]byte, error) { return files.ReadFile(name) }

// Variable is a variable of a job.
type Variable struct {
	Name, Description string
	Type              string    // string, number, bool or list(string).
	Default           cty.Value // cty.NilVal: it has to be set.
}

// Variables lists the variables of a job, in the order of its file.
func Variables(job string) ([]Variable, error) {
	f, err := parse(job)
	if err != nil {
		return nil, err
	}
	var out []Variable
	for _, b := range variables(f) {
		v := Variable{Name: b.Labels()[0], Type: source(b, "type")}
		description, err := literal(b, "description")
		if err == nil {
			v.Description = description.AsString()
			v.Default, err = literal(b, "default")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: variable %s: %w", job, v.Name, err)
		}
		out = append(out, v)
	}
	return out, nil
}

// Fill returns a job's file with these values as the defaults of its variables. The others
// keep theirs. The error names all variables that there are not, and all values of a wrong type.
func Fill(job string, values map[string]cty.Value) ([]byte, error) {
	f, err := parse(job)
	if err != nil {
		return nil, err
	}
	left := maps.Clone(values)
	var wrong []string
	for _, b := range variables(f) {
		name := b.Labels()[0]
		v, ok := left[name]
		if !ok {
			continue
		}
		delete(left, name)
		if why := mismatch(v, source(b, "type")); why != "" {
			wrong = append(wrong, fmt.Sprintf("variable %s: %s", name, why))
			continue
		}
		b.Body().SetAttributeValue("default", v)
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		wrong = append(wrong, fmt.Sprintf("there is no variable %q", name))
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("fill in %s: %s", job, strings.Join(wrong, "; "))
	}
	return hclwrite.Format(f.Bytes()), nil
}

// mismatch says why a value does not fit a type; empty if it does.
func mismatch(v cty.Value, want string) string {
	types := map[string]cty.Type{"string": cty.String, "number": cty.Number, "bool": cty.Bool, "list(string)": cty.List(cty.String)}
	switch {
	case v == cty.NilVal || !v.IsWhollyKnown() || v.IsNull():
		return fmt.Sprintf("a %s is required", want)
	case !v.Type().Equals(types[want]):
		return fmt.Sprintf("a %s is required, got %s", want, v.Type().FriendlyName())
	}
	return ""
}

func parse(job string) (*hclwrite.File, error) {
	src, err := files.ReadFile(job)
	if err != nil {
		return nil, fmt.Errorf("read job: %w", err)
	}
	f, diags := hclwrite.ParseConfig(src, job, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, fmt.Errorf("read job: %w", diags)
	}
	return f, nil
}

// variables are the blocks of a job's variables.
func variables(f *hclwrite.File) []*hclwrite.Block {
	return slices.DeleteFunc(f.Body().Blocks(), func(b *hclwrite.Block) bool { return b.Type() != "variable" || len(b.Labels()) != 1 })
}

// source is an attribute's expression as it is written; empty if there is none.
func source(b *hclwrite.Block, attribute string) string {
	a := b.Body().GetAttribute(attribute)
	if a == nil {
		return ""
	}
	return strings.TrimSpace(string(a.Expr().BuildTokens(nil).Bytes()))
}
