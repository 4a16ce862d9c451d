package plainjob

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// HCL is the job as a file for "nomad job run", with the notes as comments. The names of
// blocks and attributes are those in the tags of Nomad's own types.
func (j Job) HCL() (string, error) {
	var job api.Job
	if err := json.Unmarshal(j.Data, &job); err != nil {
		return "", fmt.Errorf("read the job: %w", err)
	}
	if job.ID == nil {
		return "", fmt.Errorf("the job has no ID")
	}
	w := &writer{}
	id := *job.ID
	job.ID = nil // It is the label.
	if job.Name != nil && *job.Name == id {
		job.Name = nil
	}
	w.line("job %s {", quoted(id))
	if err := w.fields(reflect.ValueOf(job)); err != nil {
		return "", err
	}
	w.line("}")
	var head strings.Builder
	for _, n := range j.Notes {
		head.WriteString("# " + strings.Join(strings.Fields(n), " ") + "\n")
	}
	body := string(hclwrite.Format([]byte(w.out.String())))
	if strings.Contains(body, "$${") {
		head.WriteString("# $${NAME} stands for a variable that Nomad resolves where the job runs, or the app's shell.\n")
	}
	return head.String() + body, nil
}

// writer writes HCL, unaligned.
type writer struct{ out strings.Builder }

func (w *writer) line(format string, args ...any) { fmt.Fprintf(&w.out, format+"\n", args...) }

// apart puts an empty line before a block, unless the block is the first thing in another.
func (w *writer) apart() {
	if !strings.HasSuffix(w.out.String(), "{\n") {
		w.line("")
	}
}

// field is a field of one of Nomad's types, as its tag names it.
type field struct {
	name, kind string // The kind is optional, block or label.
	value      reflect.Value
}

// fieldsOf are the fields of a struct that a file can have and that are set, attributes
// before blocks.
func fieldsOf(v reflect.Value) []field {
	var attributes, blocks []field
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, kind, _ := strings.Cut(f.Tag.Get("hcl"), ",")
		if f.Type == reflect.TypeFor[*api.WorkloadIdentity]() && name == "" {
			name, kind = "identity", "block"
		}
		switch value := v.Field(i); {
		case kind == "label" || name == "" || name == "-" || unset(value):
		case kind == "block":
			blocks = append(blocks, field{name, kind, value})
		default:
			attributes = append(attributes, field{name, kind, value})
		}
	}
	return append(attributes, blocks...)
}

// unset reports whether a file leaves v out. What a pointer points to is set even if it
// is zero.
func unset(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() == 0
	case reflect.Pointer:
		return v.IsNil()
	}
	return v.IsZero()
}

func (w *writer) fields(v reflect.Value) error {
	for _, f := range fieldsOf(v) {
		write := w.attribute
		if f.kind == "block" {
			write = w.blocks
		}
		if err := write(f.name, f.value); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// blocks writes a block, or one for each element of a list or map.
func (w *writer) blocks(name string, v reflect.Value) error {
	switch v.Kind() {
	case reflect.Pointer:
		return w.blocks(name, v.Elem())
	case reflect.Slice:
		if name == "reserved_ports" {
			name = "port" // Its static value makes it one.
		}
		for i := range v.Len() {
			if err := w.blocks(name, v.Index(i)); err != nil {
				return err
			}
		}
		return nil
	case reflect.Map:
		if v.Type().Elem().Kind() != reflect.Pointer {
			return w.values(name, v)
		}
		for _, key := range slices.Sorted(maps.Keys(stringKeys(v))) {
			if err := w.blocks(name, v.MapIndex(reflect.ValueOf(key))); err != nil {
				return err
			}
		}
		return nil
	}
	w.apart()
	w.line("%s {", name+labels(v))
	if err := w.fields(v); err != nil {
		return err
	}
	w.line("}")
	return nil
}

// labels are the labels of a struct's block, each after a space.
func labels(v reflect.Value) string {
	var out string
	for i := range v.NumField() {
		if _, kind, _ := strings.Cut(v.Type().Field(i).Tag.Get("hcl"), ","); kind == "label" {
			out += " " + quoted(reflect.Indirect(v.Field(i)).String())
		}
	}
	return out
}

// values writes a map of names that are not Nomad's, such as env and config. Names that no
// attribute can have need a map in place of the block.
func (w *writer) values(name string, v reflect.Value) error {
	all := stringKeys(v)
	for key := range all {
		if !hclsyntax.ValidIdentifier(key) {
			return w.attribute(name, v)
		}
	}
	w.apart()
	w.line("%s {", name)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if err := w.attribute(key, all[key]); err != nil {
			return err
		}
	}
	w.line("}")
	return nil
}

func stringKeys(v reflect.Value) map[string]reflect.Value {
	out := map[string]reflect.Value{}
	for _, key := range v.MapKeys() {
		out[key.String()] = v.MapIndex(key)
	}
	return out
}

// attribute writes one value. A text of several lines is written as such.
func (w *writer) attribute(name string, v reflect.Value) error {
	v = reflect.Indirect(v)
	if d, ok := v.Interface().(time.Duration); ok {
		w.line("%s = %s", name, quoted(d.String()))
		return nil
	}
	if text, ok := v.Interface().(string); ok && strings.HasSuffix(text, "\n") && !strings.Contains(text, heredoc) && !strings.Contains(text, "\r") {
		w.line("%s = <<%s\n%s%s", name, heredoc, escaped.Replace(text), heredoc)
		return nil
	}
	data, err := json.Marshal(v.Interface())
	if err != nil {
		return err
	}
	var value ctyjson.SimpleJSONValue
	if err := value.UnmarshalJSON(data); err != nil {
		return err
	}
	w.line("%s = %s", name, hclwrite.TokensForValue(value.Value).Bytes())
	return nil
}

const heredoc = "EOT"

// escaped makes a text one that HCL takes as it is, so that Nomad resolves its variables
// where the job runs.
var escaped = strings.NewReplacer("${", "$${", "%{", "%%{")

func quoted(s string) string { return string(hclwrite.TokensForValue(cty.StringVal(s)).Bytes()) }
