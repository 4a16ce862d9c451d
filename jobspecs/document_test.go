package jobspecs_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// completed parses every good spec of the tests, with what a real Nomad said.
func completed(t *testing.T) map[*jobspecs.Draft]wadi.Service {
	t.Helper()
	all := map[*jobspecs.Draft]wadi.Service{}
	for _, file := range append(files(t, "testdata/specs/*.hcl"), files(t, "examples/*.hcl")...) {
		src := read(t, file)
		drafts, problems := jobspecs.Parse(jobspecs.File{Name: filepath.Base(file), Source: src}, optionsOf(src))
		if jobspecs.HasErrors(problems) {
			t.Fatalf("problems:\n%s", texts(problems))
		}
		for _, d := range drafts {
			job, _ := parsed(t, filepath.Join("testdata/specs", filepath.Base(file)), d)
			s, problems := d.Complete(job)
			if jobspecs.HasErrors(problems) {
				t.Fatalf("problems:\n%s", texts(problems))
			}
			all[d] = s
		}
	}
	return all
}

// A document without a change is the service that it was made of.
func TestDocument_RoundTrip(t *testing.T) {
	for d, want := range completed(t) {
		doc, err := jobspecs.DocumentOf(want)
		if err != nil {
			t.Fatal(err)
		}
		got, problems := d.Change(want, doc, jobspecs.Limits{})
		if len(problems) > 0 {
			t.Errorf("%s: problems:\n%s", want.Name, texts(problems))
		}
		if diff := cmp.Diff(asJSON(t, want), asJSON(t, got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.Name, diff)
		}
		if jobspecs.Hash(got) != jobspecs.Hash(want) {
			t.Errorf("%s: it would be another revision", want.Name)
		}
	}
}

func asJSON(t *testing.T, v any) (out any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// Each change is checked like a setting of a file, and complained about at the user's line.
func TestDocument_Mistakes(t *testing.T) {
	src := `service "shop" {
  mesh    = "off"
  network = "host"
  instance {
    task "web" {
      driver = "raw_exec"
    }
  }
  scale {
    min = 1
  }
}
`
	d, problems := parseOne(t, src, jobspecs.Options{})
	if len(problems) > 0 {
		t.Fatal(texts(problems))
	}
	was, problems := d.Complete([]byte(`{"TaskGroups": [{"Tasks": [{"Name": "web", "Driver": "raw_exec", "Config": {"command": "a"}}]}]}`))
	if len(problems) > 0 {
		t.Fatal(texts(problems))
	}
	var out strings.Builder
	for _, change := range []string{
		`/name "other"`, `/name null`, `/namespace "prod"`, `/colour "blue"`, `/concurrency {"limit": 1}`, `/concurrency_limit -1`,
		`/priority "high"`, `/priority 1e400`, `/domains "a.example.com"`, `/domains [5]`, `/meta ["a"]`,
		`/scale 5`, `/scale []`, `/scale [{}, {}]`, `/scale/min 500`, `/scale/max "ten"`, `/scale/mni 5`, `/scale/window "1s"`,
		`/scale/metrics {}`, `/scale/metrics [5]`, `/scale/metrics [{"target": 5}]`, `/scale/metrics [{"metric": "lag"}]`,
		`/scale/metrics [{"metric": "rps"}, {"metric": "rps"}]`, `/scale/schedules [{"name": "a"}]`,
		`/upstreams [{"service": "b", "local_port": 9000}]`, `/traffic [{"revision": "latest", "percent": 50}]`,
		`/traffic [{"revision": "latest", "percent": 50, "tag": "a"}, {"revision": "shop-00001", "percent": 50, "tag": "a"}]`,
		`/mesh "envoy"`, `/protocol "http3"`, `/intentions {"allow": []}`, `/probe {"http": "x"}`, `/rollout {"max_p99": "5s"}`,
		`/routes {}`, `/routes [{"name": "a"}]`, `/routes [{"name": "a", "tag": "b", "match": {"path": "a"}}]`,
		`/routes [{"name": "a", "tag": "b", "match": {"headers": [{"name": "Host", "exact": "a"}]}}, {"name": "a", "tag": "b", "match": {"path": "/"}}]`,
		`/serving_task "db"`, `/instance {}`,
	} {
		path, value, _ := strings.Cut(change, " ")
		doc, err := jobspecs.DocumentOf(was)
		if err != nil {
			t.Fatal(err)
		}
		doc.Service = changed(t, doc.Service, path, value)
		report(t, &out, d, was, doc, change)
	}
	for _, service := range []string{`null`, `[]`, `{`} {
		doc, err := jobspecs.DocumentOf(was)
		if err != nil {
			t.Fatal(err)
		}
		doc.Service = json.RawMessage(service)
		report(t, &out, d, was, doc, "service "+service)
	}
	for _, group := range []string{
		`{}`, `null`, `5`, `{"Tasks": null}`, `{"Tasks": [null]}`, `{"Tasks": [{"Name": "web", "Drivr": "exec"}]}`,
		`{"Count": 5, "Tasks": [{"Name": "web"}]}`, `{"Tasks": [{"Name": "web", "Env": {"WADI_LISTEN": "x"}}]}`,
		`{"Tasks": [{"Name": "queue-proxy"}]}`,
		`{"Tasks": [{"Name": "web"}], "Services": [{"Name": "shop", "Connect": {}}]}`,
		`{"Tasks": [{"Name": "web"}], "Networks": [{"Mode": "host"}]}`, `{"Tasks": "web"}`,
		`{"tasks": [{"Name": "web"}]}`, `{"Tasks": [{"Name": "web"}], "tasks": [{"Name": "web", "Driver": "exec"}]}`,
		`{"Tasks": [{"Name": "web", "env": {"A": "b"}}]}`, `{"Tasks": [{"Name": "web"}], "Constraints": [null]}`,
	} {
		doc, err := jobspecs.DocumentOf(was)
		if err != nil {
			t.Fatal(err)
		}
		doc.Instance = json.RawMessage(group)
		report(t, &out, d, was, doc, "instance "+group)
	}
	golden(t, "testdata/document-errors.golden", []byte(out.String()))
}

// A group as deep as a file's is good for a webhook to give back; one that could be stored
// and not be read again is refused.
func TestDocument_Nesting(t *testing.T) {
	d, problems := parseOne(t, "service \"shop\" {\n instance {\n }\n}\n", jobspecs.Options{})
	if len(problems) > 0 {
		t.Fatal(texts(problems))
	}
	group := func(depth int) json.RawMessage {
		return json.RawMessage(`{"Tasks": [{"Name": "web", "Config": {"a": ` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `}}]}`)
	}
	was, problems := d.Complete([]byte(`{"TaskGroups": [` + string(group(1)) + `]}`))
	if len(problems) > 0 {
		t.Fatal(texts(problems))
	}
	for depth, want := range map[int]string{1500: "", 2500: "is nested more than 2000 deep"} {
		doc, err := jobspecs.DocumentOf(was)
		if err != nil {
			t.Fatal(err)
		}
		doc.Instance = group(depth)
		_, problems := d.Change(was, doc, jobspecs.Limits{})
		if got := texts(problems); (want == "") != (len(problems) == 0) || !strings.Contains(got, want) {
			t.Errorf("%d deep: got %.300q, want %q", depth, got, want)
		}
	}
}

// report writes what is said about a changed document. A document without a mistake is
// one of the test's.
func report(t *testing.T, out *strings.Builder, d *jobspecs.Draft, was wadi.Service, doc jobspecs.Document, change string) {
	t.Helper()
	_, problems := d.Change(was, doc, jobspecs.Limits{})
	if len(problems) == 0 {
		t.Errorf("accepted: %s", change)
	}
	out.WriteString("== " + change + "\n" + texts(problems))
}

// changed sets one field of a document, or removes it if value is null.
func changed(t *testing.T, doc []byte, path, value string) []byte {
	t.Helper()
	var root map[string]any
	if err := json.Unmarshal(doc, &root); err != nil {
		t.Fatal(err)
	}
	at := root
	names := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for _, name := range names[:len(names)-1] {
		at = at[name].(map[string]any)
	}
	at[names[len(names)-1]] = json.RawMessage(value)
	out, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
