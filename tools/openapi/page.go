package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// generatedBelow is the line of docs/api.md below which everything is written anew.
const generatedBelow = "<!-- Below this line the page is written by go run ./tools/openapi from api/openapi.json. -->\n"

// document is what the page shows of api/openapi.json.
type document struct {
	Tags []struct {
		Name, Description string
	}
	Paths      map[string]map[string]operation
	Components struct {
		Parameters map[string]parameter
		Responses  map[string]response
		Schemas    map[string]property
	}
}

type operation struct {
	Tags                 []string
	Summary, Description string
	Parameters           []parameter
	RequestBody          *struct{ Content map[string]content }
	Responses            map[string]response
}

type parameter struct {
	Ref         string `json:"$ref"`
	Name, In    string
	Description string
	Schema      property
}

type response struct {
	Ref         string `json:"$ref"`
	Description string
	Content     map[string]content
}

type content struct{ Schema property }

// property is a schema.
type property struct {
	Ref         string `json:"$ref"`
	Type        any
	Description string
	Enum        []any
	Items       *property
	AnyOf       []property
	Properties  map[string]property
	Required    []string

	AdditionalProperties any
}

// renewPage returns docs/api.md with its generated part as the document has it.
func renewPage(page string, doc []byte) (string, error) {
	head, _, ok := strings.Cut(page, generatedBelow)
	if !ok {
		return "", fmt.Errorf("docs/api.md has no line %q", strings.TrimSpace(generatedBelow))
	}
	var d document
	if err := json.Unmarshal(doc, &d); err != nil {
		return "", err
	}
	out := &strings.Builder{}
	out.WriteString(head + generatedBelow)
	for _, tag := range d.Tags {
		fmt.Fprintf(out, "\n## %s%s\n\n%s.\n", strings.ToUpper(tag.Name[:1]), tag.Name[1:], tag.Description)
		for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
			for _, method := range slices.Sorted(maps.Keys(d.Paths[path])) {
				if op := d.Paths[path][method]; slices.Contains(op.Tags, tag.Name) {
					d.operation(out, method, path, op)
				}
			}
		}
	}
	out.WriteString("\n## Types\n\nA key that is not required is left out when it is empty.\n")
	for _, name := range slices.Sorted(maps.Keys(d.Components.Schemas)) {
		d.object(out, name, d.Components.Schemas[name])
	}
	return out.String(), nil
}

// operation writes one operation.
func (d *document) operation(out *strings.Builder, method, path string, op operation) {
	fmt.Fprintf(out, "\n### %s %s\n\n%s.%s\n", strings.ToUpper(method), path, op.Summary, spaced(op.Description))
	if len(op.Parameters) > 0 {
		out.WriteString("\n| parameter | in | |\n|---|---|---|\n")
	}
	for _, p := range op.Parameters {
		if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok {
			p = d.Components.Parameters[name]
		}
		fmt.Fprintf(out, "| `%s` | %s | %s |\n", p.Name, p.In, cell(p.Description))
	}
	if op.RequestBody != nil {
		fmt.Fprintf(out, "\nBody: %s\n", shownContent(op.RequestBody.Content))
	}
	out.WriteString("\n| status | body | |\n|---|---|---|\n")
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		r := op.Responses[status]
		if name, ok := strings.CutPrefix(r.Ref, "#/components/responses/"); ok {
			r = d.Components.Responses[name]
		}
		fmt.Fprintf(out, "| %s | %s | %s |\n", status, shownContent(r.Content), cell(r.Description))
	}
}

// object writes the fields of one type.
func (d *document) object(out *strings.Builder, name string, s property) {
	fmt.Fprintf(out, "\n### %s\n\n%s\n", name, s.Description)
	if len(s.Properties) == 0 {
		if len(s.Enum) > 0 {
			fmt.Fprintf(out, "\nOne of %s.\n", values(s.Enum))
		}
		return
	}
	out.WriteString("\n| key | type | required | |\n|---|---|---|---|\n")
	for _, key := range slices.Sorted(maps.Keys(s.Properties)) {
		p, required := s.Properties[key], ""
		if slices.Contains(s.Required, key) {
			required = "yes"
		}
		fmt.Fprintf(out, "| `%s` | %s | %s | %s |\n", key, shown(p), required, cell(p.Description))
	}
}

// shownContent is the type of a body: that of its JSON, else the name of its format.
func shownContent(c map[string]content) string {
	if body, ok := c["application/json"]; ok {
		return shown(body.Schema)
	}
	if len(c) == 0 {
		return ""
	}
	return "`" + strings.Join(slices.Sorted(maps.Keys(c)), "`, `") + "`"
}

// shown is a type in a few words, with links.
func shown(p property) string {
	kind := fmt.Sprint(p.Type)
	if several, ok := p.Type.([]any); ok {
		kind = fmt.Sprint(several[0])
	}
	switch {
	case p.Ref != "":
		name := strings.TrimPrefix(p.Ref, schemaRef)
		return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
	case len(p.AnyOf) > 0:
		return shown(p.AnyOf[0]) + " or null"
	case p.Items != nil:
		return "list of " + shown(*p.Items)
	case p.AdditionalProperties != nil:
		return "map" + mapped(p.AdditionalProperties)
	case p.Type == nil:
		return "any"
	}
	return kind
}

// mapped says of what a map is.
func mapped(values any) string {
	b, err := json.Marshal(values)
	var p property
	if err != nil || json.Unmarshal(b, &p) != nil {
		return ""
	}
	return " of " + shown(p)
}

func values(all []any) string {
	var out []string
	for _, v := range all {
		out = append(out, fmt.Sprintf("`%v`", v))
	}
	return strings.Join(out, ", ")
}

func spaced(s string) string {
	if s == "" {
		return ""
	}
	return " " + s
}

// cell is a text that fits into a table.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}
