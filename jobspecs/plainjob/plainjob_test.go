package plainjob_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs/plainjob"
)

var (
	update = flag.Bool("update", false, "rewrite the golden files")
	nomad  = flag.String("nomad", "", "path of nomad, to record anew how it reads the files in HCL")
)

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// revision is one whose job package jobspecs has rendered for its own tests.
func revision(t *testing.T, job string) wadi.Revision {
	t.Helper()
	data, err := os.ReadFile(job)
	if err != nil {
		t.Fatal(err)
	}
	service, err := os.ReadFile(strings.TrimSuffix(job, ".job.golden") + ".service.golden")
	if err != nil {
		t.Fatal(err)
	}
	rev := wadi.Revision{Number: 1, Job: data}
	if err := json.Unmarshal(service, &rev.Spec); err != nil {
		t.Fatal(err)
	}
	rev.Service, rev.ID = rev.Spec.Name, wadi.RevisionID(rev.Spec.Name, 1)
	return rev
}

func jobOf(t *testing.T, data []byte) api.Job {
	t.Helper()
	var out api.Job
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestGolden has the plain job of every kind of service, and what Nomad has read from it in
// HCL: the same job.
func TestGolden(t *testing.T) {
	jobs, err := filepath.Glob("../testdata/specs/*.job.golden")
	if err != nil || len(jobs) < 8 {
		t.Fatalf("%d jobs: %v", len(jobs), err)
	}
	jobs = append(jobs, "testdata/corners.job.golden")
	for _, job := range jobs {
		name := strings.TrimSuffix(filepath.Base(job), ".job.golden")
		t.Run(name, func(t *testing.T) {
			got, err := plainjob.New(revision(t, job), 2)
			if err != nil {
				t.Fatal(err)
			}
			file, err := got.HCL()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "testdata/"+name+".hcl", []byte(file))
			golden(t, "testdata/"+name+".parsed.json", parsed(t, name))
			read, err := os.ReadFile("testdata/" + name + ".parsed.json")
			if err != nil {
				t.Fatal(err)
			}
			var answer struct{ Job api.Job }
			if err := json.Unmarshal(read, &answer); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(settings(jobOf(t, got.Data)), settings(answer.Job)); diff != "" {
				t.Errorf("Nomad reads another job from the HCL (-JSON +HCL):\n%s", diff)
			}
			if left := regexp.MustCompile(`(?i)wadi_|queue-proxy`).FindAllString(string(got.Data), -1); len(left) > 0 && name != "corners" {
				t.Errorf("there is more of Wadi's left: %q", left)
			}
		})
	}
}

// parsed is what Nomad reads from a file, recorded unless the flag -nomad is given.
func parsed(t *testing.T, name string) []byte {
	t.Helper()
	if *nomad == "" {
		data, err := os.ReadFile("testdata/" + name + ".parsed.json")
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	out, err := exec.Command(*nomad, "job", "run", "-output", "testdata/"+name+".hcl").CombinedOutput()
	if err != nil {
		t.Fatalf("nomad refuses it: %v: %s", err, out)
	}
	return out
}

// settings is a job without what means the same: nulls, empty lists and zeros that are no
// pointers.
func settings(job api.Job) any {
	return short(reflect.ValueOf(job))
}

func short(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return short(v.Elem())
	case reflect.Struct:
		out := map[string]any{}
		for i := range v.NumField() {
			if f := v.Field(i); !f.IsZero() {
				if s := short(f); s != nil {
					out[v.Type().Field(i).Name] = s
				}
			}
		}
		return out
	case reflect.Map:
		out := map[string]any{}
		for _, k := range v.MapKeys() {
			out[k.String()] = short(v.MapIndex(k))
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case reflect.Slice:
		var out []any
		for i := range v.Len() {
			out = append(out, short(v.Index(i)))
		}
		if len(out) == 0 {
			return nil
		}
		return out
	}
	return v.Interface()
}

func TestNew_Refuses(t *testing.T) {
	const group = `{"TaskGroups":[{"Name":"instance","Tasks":[%],"Services":[{"Name":"a"}]}]}`
	for _, tt := range []struct{ name, job, want string }{
		{"nothing", ``, "read its job: EOF"},
		{"null", `null`, "read its job: an object is required, got null"},
		{"no group", `{"TaskGroups":[]}`, `its job does not have the one group "instance"`},
		{"another group", `{"TaskGroups":[{"Name":"web"}]}`, `its job does not have the one group "instance"`},
		{"no task", strings.Replace(group, "%", ``, 1), "its job does not have the task queue-proxy beside the app's"},
		{"task is no object", strings.Replace(group, "%", `1`, 1), "a task of its job is no object"},
		{"no queue-proxy", strings.Replace(group, "%", `{"Name":"web"}`, 1), "its job does not have the task queue-proxy beside the app's"},
		{"only a queue-proxy", strings.Replace(group, "%", `{"Name":"queue-proxy"}`, 1), "its job does not have the task queue-proxy beside the app's"},
		{"another service", strings.Replace(group, "%", `{"Name":"web"},{"Name":"queue-proxy"}`, 1), `the first Consul service of its job is not "b"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := plainjob.New(wadi.Revision{ID: "b-00001", Service: "b", Job: json.RawMessage(tt.job)}, 1)
			if err == nil || err.Error() != "revision b-00001: "+tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

// The instance that a revision was made of is not touched.
func TestNew_KeepsTheRevision(t *testing.T) {
	rev := revision(t, "testdata/corners.job.golden")
	before := string(rev.Job)
	first, err := plainjob.New(rev, 1)
	if err != nil {
		t.Fatal(err)
	}
	again, err := plainjob.New(rev, 1)
	if err != nil || string(rev.Job) != before || string(first.Data) != string(again.Data) {
		t.Errorf("changed: %v", err)
	}
}
