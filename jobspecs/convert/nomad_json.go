package convert

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// nomadJSON writes a job of Nomad's API as HCL, and converts that. Lines in notes are those
// of the JSON.
func nomadJSON(f jobspecs.File) (Result, []wadi.Problem) {
	root, line, err := parseTree(f.Source)
	if err != nil {
		return Result{}, []wadi.Problem{{File: f.Name, Line: line, Message: "not JSON: " + err.Error()}}
	}
	job := root
	if inner := root.fields["Job"]; inner != nil {
		job = inner
	}
	if job.fields["ID"] == nil || job.fields["TaskGroups"] == nil {
		return Result{}, []wadi.Problem{{File: f.Name, Line: job.line, Path: "job", Message: "no Nomad job: it needs ID and TaskGroups, as nomad job inspect and nomad job run -output write them"}}
	}
	dropInjected(job)
	p := &printer{notes: notes{table: NomadSettings()}, file: f.Name}
	p.emit(job.line, fmt.Sprintf("job %s {", quoted(job.fields["ID"].text())))
	p.body(reflect.TypeFor[api.Job](), job, "job")
	p.emit(job.line, "}")
	return p.result(f.Name)
}

func (p *printer) result(file string) (Result, []wadi.Problem) {
	n := newNomadReader(jobspecs.File{Name: file, Source: hclwrite.Format([]byte(strings.Join(p.out, "\n") + "\n"))}) // Its lines stay.
	n.lineOf = func(line int) int { return p.lines[min(line, len(p.lines))-1] }
	n.notes.all = p.notes.all
	n.lead = p.lead.String()
	r, problems := n.result()
	for i := range problems {
		problems[i].Line, problems[i].Column = n.lineOf(max(problems[i].Line, 1)), 0
	}
	for i := range r.Notes {
		r.Notes[i].Column = 0
	}
	return r, problems
}

// printer writes values of Nomad's API as HCL, by the tags of their types.
type printer struct {
	notes
	file  string
	out   []string
	lines []int // Of the JSON, for each of out.
	lead  strings.Builder
}

func (p *printer) emit(line int, text string) {
	for l := range strings.SplitSeq(text, "\n") {
		p.out, p.lines = append(p.out, l), append(p.lines, line)
	}
}

// byServer reports whether Nomad's servers set a field, which is no setting then.
func byServer(name string) bool {
	return slices.Contains([]string{
		"Stop", "ParentID", "Dispatched", "DispatchIdempotencyToken", "Payload", "NomadTokenID", "Status", "StatusDescription", "Stable",
		"Version", "SubmitTime", "CreateIndex", "ModifyIndex", "JobModifyIndex", "VersionTag", "ConsulToken", "VaultToken", "ID",
	}, name)
}

func (p *printer) body(typ reflect.Type, o *node, path string) {
	for _, key := range o.keys {
		v := o.fields[key]
		field, ok := typ.FieldByNameFunc(func(name string) bool { return strings.EqualFold(name, key) })
		if !ok {
			if !v.empty() {
				p.unknown(v, path+"."+key)
			}
			continue
		}
		name, kind, _ := strings.Cut(field.Tag.Get("hcl"), ",")
		switch {
		case field.Name == "Namespace" && strings.HasSuffix(path, ".service"): // The servers set it to the job's.
		case key == "Name" && path == "job" && v.text() == o.fields["ID"].text():
		case kind == "label":
		case name == "" && path == "job.group.task" && field.Name == "Identity" && !v.empty():
			p.block("identity", field.Type, v, path)
		case name == "" || name == "-" || path == "job" && name == "id":
			if !v.empty() && !byServer(field.Name) {
				p.unknown(v, path+"."+key)
			}
		case kind == "block":
			p.block(name, field.Type, v, path)
		default:
			p.attribute(name, field.Type, v)
		}
	}
}

func (p *printer) unknown(v *node, path string) {
	p.lead.WriteString(p.gone(p.file, v.line, 0, path))
}

func (p *printer) attribute(name string, typ reflect.Type, v *node) {
	pointer := typ.Kind() == reflect.Pointer
	if pointer {
		typ = typ.Elem()
	}
	if v.value == nil && v.list == nil && v.fields == nil || v.value == "" || (len(v.list)+len(v.fields) == 0 && v.value == nil) {
		return
	}
	if v.empty() && !(pointer && (v.value == false && name != "all_at_once" || slices.Contains([]string{"count", "attempts", "min", "max"}, name))) {
		return
	}
	if number, ok := v.value.(json.Number); ok && typ == reflect.TypeFor[time.Duration]() {
		if ns, err := number.Int64(); err == nil {
			p.emit(v.line, name+" = "+quoted(time.Duration(ns).String()))
			return
		}
	}
	p.emit(v.line, name+" = "+expression(v))
}

// block writes one block, or several of a list or of a map by name.
func (p *printer) block(name string, typ reflect.Type, v *node, path string) {
	if name == "reserved_ports" {
		name = "port"
	}
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch {
	case v.value == nil && v.list == nil && v.fields == nil:
	case typ.Kind() == reflect.Slice:
		for _, e := range v.list {
			p.block(name, typ.Elem(), e, path)
		}
	case typ.Kind() == reflect.Map && structOf(typ.Elem()) != nil:
		for _, key := range v.keys {
			p.one(name, quoted(key), structOf(typ.Elem()), v.fields[key], path)
		}
	case typ.Kind() == reflect.Map:
		p.values(name, v)
	case typ.Kind() == reflect.Struct:
		p.one(name, labelOf(typ, v), typ, v, path)
	}
}

func (p *printer) one(name, label string, typ reflect.Type, v *node, path string) {
	p.emit(v.line, strings.TrimSpace(name+" "+label)+" {")
	p.body(typ, v, path+"."+name)
	p.emit(v.line, "}")
}

func structOf(typ reflect.Type) reflect.Type {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct {
		return nil
	}
	return typ
}

func labelOf(typ reflect.Type, v *node) string {
	for i := range typ.NumField() {
		f := typ.Field(i)
		if _, kind, _ := strings.Cut(f.Tag.Get("hcl"), ","); kind == "label" {
			for _, key := range v.keys {
				if strings.EqualFold(key, f.Name) {
					return quoted(v.fields[key].text())
				}
			}
		}
	}
	return ""
}

// values writes free keys, as a block, or as a map if they are no names.
func (p *printer) values(name string, v *node) {
	if len(v.keys) == 0 {
		return
	}
	open, end := name+" {", "}"
	named := !slices.ContainsFunc(v.keys, func(k string) bool { return !hclsyntax.ValidIdentifier(k) })
	if !named {
		open = name + " = {"
	}
	p.emit(v.line, open)
	for _, key := range v.keys {
		left := key
		if !named {
			left = quoted(key)
		}
		p.emit(v.fields[key].line, left+" = "+expression(v.fields[key]))
	}
	p.emit(v.line, end)
}

var runtimeReference = regexp.MustCompile(`\$\$\{((?:NOMAD_[A-Za-z0-9_]+|(?:attr|node|meta|device)\.[A-Za-z0-9_.-]+)\})`)

// expression is v in HCL. What Nomad resolves at run time is written as people do.
func expression(v *node) string {
	if s := v.text(); strings.HasSuffix(s, "\n") && !strings.Contains(s, "EOT") && !strings.ContainsAny(s, "\r\x00") {
		s = strings.NewReplacer("${", "$${", "%{", "%%{").Replace(s)
		return "<<EOT\n" + s + "EOT"
	}
	text := string(hclwrite.TokensForValue(v.cty()).Bytes())
	return runtimeReference.ReplaceAllString(text, "${$1")
}

func quoted(s string) string { return string(hclwrite.TokensForValue(cty.StringVal(s)).Bytes()) }

func (n *node) cty() cty.Value {
	switch v := n.value.(type) {
	case string:
		return cty.StringVal(v)
	case bool:
		return cty.BoolVal(v)
	case json.Number:
		if number, err := cty.ParseNumberVal(v.String()); err == nil {
			return number
		}
		return cty.StringVal(v.String())
	}
	switch {
	case n.fields != nil:
		all := map[string]cty.Value{}
		for k, v := range n.fields {
			all[k] = v.cty()
		}
		return cty.ObjectVal(all)
	case len(n.list) > 0:
		var all []cty.Value
		for _, v := range n.list {
			all = append(all, v.cty())
		}
		return cty.TupleVal(all)
	}
	return cty.NullVal(cty.DynamicPseudoType)
}
