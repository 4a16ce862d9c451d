package admission_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/webhook"
	"github.com/wadi-run/wadi/jobspecs"
)

const schemas = "../../docs/schemas/"

func schema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(schemas + name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func valid(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

// The question about every service of the tests, parsed by a real Nomad, is as the
// published schema says.
func TestSchema_Request(t *testing.T) {
	s := schema(t, "admission-request.json")
	files, err := filepath.Glob("../../jobspecs/testdata/specs/*.service.golden")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		var service wadi.Service
		var job struct{ TaskGroups []json.RawMessage }
		for name, into := range map[string]any{file: &service, strings.TrimSuffix(file, ".service.golden") + ".json": &job} {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(data, into); err != nil {
				t.Fatal(err)
			}
		}
		service.Instance = job.TaskGroups[0]
		doc, err := jobspecs.DocumentOf(service)
		if err != nil {
			t.Fatal(err)
		}
		question, err := json.Marshal(webhook.Question{Service: doc.Service, Instance: doc.Instance})
		if err != nil {
			t.Fatal(err)
		}
		if err := valid(t, s, string(question)); err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
		if err := valid(t, s, strings.Replace(string(question), `"min":`, `"min":"a","other":`, 1)); err == nil {
			t.Errorf("%s: a count that is text is accepted", filepath.Base(file))
		}
	}
}

// The schema has each field of a service, and no other.
func TestSchema_Complete(t *testing.T) {
	var root any
	data, err := os.ReadFile(schemas + "admission-request.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	request := root.(map[string]any)["properties"].(map[string]any)
	compareFields(t, "", reflect.TypeFor[webhook.Question](), request)
	service := request["service"].(map[string]any)["properties"].(map[string]any)
	service["instance"] = true // It is beside the service.
	compareFields(t, "service", reflect.TypeFor[wadi.Service](), service)
}

// compareFields compares the fields of a Go type with the properties of its schema.
func compareFields(t *testing.T, path string, of reflect.Type, properties map[string]any) {
	t.Helper()
	var names []string
	for i := range of.NumField() {
		f := of.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
		inner := f.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() != reflect.Struct {
			continue
		}
		p, _ := properties[name].(map[string]any)
		if items, ok := p["items"].(map[string]any); ok {
			p = items
		}
		fields, _ := p["properties"].(map[string]any)
		compareFields(t, path+"."+name, inner, fields)
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, slices.Sorted(maps.Keys(properties))); diff != "" {
		t.Errorf("%s: fields of the type and of the schema (-type +schema):\n%s", path, diff)
	}
}

func TestSchema_Answer(t *testing.T) {
	s := schema(t, "admission-answer.json")
	for text, want := range map[string]bool{
		`{"allowed": true}`: true,
		`{"allowed": false, "message": "no", "later": 1}`:                    true,
		`{"allowed": true, "patch": null}`:                                   true,
		patch(`{"op": "remove", "path": "/service/x"}`):                      true,
		patch(`{"op": "move", "from": "/service/x", "path": "/instance/y"}`): true,
		patch(`{"op": "add", "path": "/service/x", "value": null}`):          true,
		`{}`:                              false,
		`{"allowed": "true"}`:             false,
		`{"allowed": true, "message": 5}`: false,
		`{"allowed": true, "patch": {}}`:  false,
		patch(`{"op": "add", "path": "/service/x"}`):                                 false,
		patch(`{"op": "add", "path": "/user", "value": 1}`):                          false,
		patch(`{"op": "add", "path": "/services", "value": 1}`):                      false,
		patch(`{"op": "copy", "from": "/user", "path": "/service/x"}`):               false,
		patch(`{"op": "append", "path": "/service/x", "value": 1}`):                  false,
		patch(strings.Repeat(`{"op": "remove", "path": "/service/x"},`, 256) + `{}`): false,
	} {
		if err := valid(t, s, text); (err == nil) != want {
			t.Errorf("%.100s: valid is %v, want %v: %v", text, err == nil, want, err)
		}
	}
}
