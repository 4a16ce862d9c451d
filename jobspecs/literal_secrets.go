package jobspecs

import (
	"encoding/json"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/secrets"
)

// LiteralSecrets are the certain secrets that stand as literals in the tasks of a file's
// services, at most maxSecrets of each task. It needs no Nomad, and so does not see what
// variables and locals make.
func LiteralSecrets(f File) (found []wadi.Problem) {
	r := &taskReader{reader: reader{file: f, limits: Limits{}.orDefault()}}
	root, ok := r.syntax()
	if !ok {
		return nil
	}
	for _, s := range root.Blocks {
		for _, instance := range ofType(s.Body, "instance") {
			for _, t := range ofType(instance.Body, "task") {
				if len(t.Labels) != 1 {
					continue
				}
				path := "instance.task." + t.Labels[0]
				for _, secret := range secrets.First(secrets.Certain(secrets.InTask(r.literals(t.Body), path)), maxSecrets) {
					rng, _ := within(instance, splitPath(secret.Path))
					found = append(found, problemAt(rng, secret.Path, "%s", secret.Message))
				}
			}
		}
	}
	return found
}

func ofType(body *hclsyntax.Body, kind string) (all []*hclsyntax.Block) {
	for _, b := range body.Blocks {
		if b.Type == kind {
			all = append(all, b)
		}
	}
	return all
}

// literals is a task in Nomad's JSON, with what may be a secret and is a literal. References
// of any kind stay references.
func (r *taskReader) literals(body *hclsyntax.Body) json.RawMessage {
	r.begin()
	r.scope = scope{runtime: true, budget: r.scope.budget}
	task := map[string]any{}
	for _, b := range ofType(body, "config") {
		task["Config"] = r.anything(b.Body, "config")
	}
	for name, key := range map[string]string{"env": "Env", "meta": "Meta"} {
		for _, b := range ofType(body, name) {
			task[key] = r.strings(b.Body, name)
		}
	}
	var artifacts, templates []any
	for _, b := range ofType(body, "artifact") {
		artifacts = append(artifacts, r.artifact(&hcl.Block{Type: b.Type, Body: b.Body, DefRange: b.DefRange()}, "artifact"))
	}
	for _, b := range ofType(body, "template") {
		t := map[string]any{}
		for name, key := range map[string]string{"data": "EmbeddedTmpl", "left_delimiter": "LeftDelim"} {
			if a := b.Body.Attributes[name]; a != nil {
				if v, diags := r.scope.value(a.Expr); !diags.HasErrors() && v.Type() == cty.String && v.IsKnown() && !v.IsNull() {
					t[key] = v.AsString()
				}
			}
		}
		if a := b.Body.Attributes["env"]; a != nil {
			v, diags := r.scope.value(a.Expr)
			t["Envvars"] = !diags.HasErrors() && v.RawEquals(cty.True)
		}
		templates = append(templates, t)
	}
	task["Artifacts"], task["Templates"] = artifacts, templates
	data, err := json.Marshal(task)
	if err != nil {
		return nil // Nothing is found in it.
	}
	return data
}
