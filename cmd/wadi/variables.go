package main

import (
	"flag"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/jobspecs"
)

const variablePrefix = "WADI_VAR_"

// variableFlags are the flags that set HCL variables.
type variableFlags struct{ vars, files stringList }

func (v *variableFlags) register(fs *flag.FlagSet) {
	fs.Var(&v.vars, "var", "set an HCL variable: `name=value`; may be repeated")
	fs.Var(&v.files, "var-file", "`file` of HCL variables, name = value; may be repeated")
}

// args are the flags as they are given to another command.
func (v *variableFlags) args() []string {
	var out []string
	for _, path := range v.files {
		out = append(out, "-var-file", path)
	}
	for _, pair := range v.vars {
		out = append(out, "-var", pair)
	}
	return out
}

// values returns the variables for files. -var overrides -var-file, which overrides
// WADI_VAR_x. From the environment it takes only variables that the files declare.
func (v *variableFlags) values(c *call, files []api.File) (map[string]string, error) {
	out := map[string]string{}
	for _, f := range files {
		for _, name := range outlineOf(f).variables {
			if value, ok := c.env[variablePrefix+name]; ok {
				out[name] = value
			}
		}
	}
	for _, path := range v.files {
		f, err := readSource(c.stdin, path)
		if err != nil {
			return nil, err
		}
		values, err := parseVariables(f)
		if err != nil {
			return nil, err
		}
		maps.Copy(out, values)
	}
	for _, pair := range v.vars {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, usagef("a -var is not of the form name=value; it is not shown, as it may be a secret")
		}
		out[name] = value
	}
	return out, nil
}

// parseVariables reads a file of name = value. A string is used as it is, any other value
// as its HCL source.
func parseVariables(f api.File) (map[string]string, error) {
	var constants jobspecs.Constants
	fallback := hcl.Range{Filename: f.Name}
	body, diags := constants.Body(jobspecs.File{Name: f.Name, Source: []byte(f.Source)})
	if diags.HasErrors() {
		return nil, errorOf(jobspecs.FromDiagnostics(diags, "", fallback))
	}
	attributes, diags := body.JustAttributes()
	if diags.HasErrors() {
		return nil, errorOf(jobspecs.FromDiagnostics(diags, "", fallback))
	}
	out := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		expr := attributes[name].Expr
		value, diags := constants.Value(expr)
		if diags.HasErrors() {
			return nil, errorOf(jobspecs.FromDiagnostics(diags, "", fallback))
		}
		if value.Type() == cty.String && !value.IsNull() && value.IsKnown() {
			out[name] = value.AsString()
			continue
		}
		out[name] = string(expr.Range().SliceBytes([]byte(f.Source)))
	}
	return out, nil
}
