package jobspecs_test

import (
	"bytes"
	"debug/elf"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// prefetchOf is the job that fetches the images of a revision whose group is in JSON.
func prefetchOf(t *testing.T, group string) (api.Job, jobspecs.Prefetch) {
	t.Helper()
	rev := wadi.Revision{
		ID: "hello-00001", Service: "hello", Spec: wadi.Service{Namespace: "shop"},
		Job: json.RawMessage(fmt.Sprintf(`{"ID":"hello-00001","Namespace":"shop","NodePool":"big","Datacenters":["dc2"],"Priority":70,
			"Constraints":[{"LTarget":"${attr.kernel.name}","RTarget":"linux","Operand":"="}],"TaskGroups":[%s]}`, group)),
	}
	p, err := jobspecs.PrefetchJob(rev, "here")
	if err != nil {
		t.Fatal(err)
	}
	var job api.Job
	if p.Job != nil {
		if err := json.Unmarshal(p.Job, &job); err != nil {
			t.Fatal(err)
		}
	}
	return job, p
}

func TestPrefetchJob(t *testing.T) {
	job, p := prefetchOf(t, `{"Name":"instance","Constraints":[{"LTarget":"${meta.disk}","RTarget":"ssd","Operand":"="},{"Operand":"distinct_hosts","RTarget":"true"}],
		"Volumes":{"data":{"Type":"host","Source":"data"}},
		"Services":[{"Connect":{"SidecarTask":{"Driver":"docker","Config":{"image":"envoy:1","args":["-c"]}}}}],
		"Tasks":[
			{"Name":"web","Driver":"docker","User":"root","Env":{"A":"b"},"Templates":[{"EmbeddedTmpl":"x"}],"Artifacts":[{"GetterSource":"x"}],
			 "Constraints":[{"LTarget":"${attr.cpu.arch}","RTarget":"amd64","Operand":"="}],"Vault":{"Role":"r"},"Identity":{"Env":true},
			 "Config":{"image":"r.example/web@sha256:1","privileged":true,"volumes":["/:/host"],"command":"sh","args":["-c","evil"],"force_pull":true,
			           "auth":[{"username":"u","password":"${meta.registry}"}],"network_mode":"host","cap_add":["all"]}},
			{"Name":"again","Driver":"docker","Config":{"image":"r.example/web@sha256:1","force_pull":true,"auth":[{"username":"u","password":"${meta.registry}"}]}},
			{"Name":"queue-proxy","Driver":"raw_exec","Config":{"command":"queue-proxy"}}]}`)
	if len(p.Skipped) > 0 {
		t.Errorf("skipped %q, want none", p.Skipped)
	}
	if *job.ID != "hello-00001-prefetch" || *job.Type != "sysbatch" || *job.Namespace != "shop" || *job.NodePool != "big" || job.Datacenters[0] != "dc2" {
		t.Errorf("job %s of type %s in %s, pool %s, %v", *job.ID, *job.Type, *job.Namespace, *job.NodePool, job.Datacenters)
	}
	if m := job.Meta; m["wadi_service"] != "hello" || m["wadi_prefetch"] != "hello-00001" || m["wadi_installation"] != "here" {
		t.Errorf("meta %v", m)
	}
	var constraints []string
	group := job.TaskGroups[0]
	for _, c := range group.Constraints {
		constraints = append(constraints, c.LTarget+" "+c.Operand+" "+c.RTarget)
	}
	if got, want := strings.Join(constraints, ", "), "${attr.kernel.name} = linux, ${meta.disk} = ssd, ${attr.cpu.arch} = amd64, ${attr.driver.raw_exec} is_set , ${attr.cpu.arch} regexp ^(amd64|arm64)$"; got != want {
		t.Errorf("constraints %q, want %q", got, want)
	}
	if len(group.Tasks) != 2 || group.Tasks[0].Name != "web" || group.Tasks[1].Name != "envoy" {
		t.Fatalf("tasks %+v, want those of two images", group.Tasks)
	}
	web, err := json.Marshal(group.Tasks[0].Config)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"auth":[{"password":"${meta.registry}","username":"u"}],"entrypoint":["/local/noop"],"force_pull":true,"image":"r.example/web@sha256:1","network_mode":"none"}`; string(web) != want {
		t.Errorf("configuration %s, want %s", web, want)
	}
	// Of a spec that is not trusted, nothing else is in the job that the agent's token registers.
	for _, foreign := range []string{"evil", "/:/host", "privileged", "cap_add", `"User":"root"`, "Vault", `"Env":{`, "GetterSource", `"EmbeddedTmpl":"x"`, "host\""} {
		if strings.Contains(string(p.Job), foreign) {
			t.Errorf("the job has %s: %s", foreign, p.Job)
		}
	}
}

func TestPrefetchJob_Skips(t *testing.T) {
	for _, tt := range []struct{ name, task, want string }{
		{"a password from the task's templates", `{"Name":"web","Driver":"docker","Config":{"image":"a:1","auth":[{"password":"${REGISTRY_PASSWORD}"}]}}`,
			"the image of task web is not fetched: ${REGISTRY_PASSWORD} is known to the task alone"},
		{"an image from its environment", `{"Name":"web","Driver":"docker","Config":{"image":"a:${env[\"TAG\"]}"}}`, `${env["TAG"]} is known to the task alone`},
		{"a file", `{"Name":"web","Driver":"docker","Config":{"image":"a:1","load":"a.tar"}}`, "it is loaded from a file of the task"},
		{"no image", `{"Name":"web","Driver":"raw_exec","Config":{"command":"web"}}`, ""},
		{"no configuration", `{"Name":"web","Driver":"docker"}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, p := prefetchOf(t, `{"Name":"instance","Tasks":[`+tt.task+`]}`)
			if got := strings.Join(p.Skipped, "; "); p.Job != nil || !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
				t.Errorf("job %s, skipped %q, want no job and %q", p.Job, got, tt.want)
			}
		})
	}
	many := make([]string, 40)
	for i := range many {
		many[i] = fmt.Sprintf(`{"Name":"t%d","Driver":"docker","Config":{"image":"a:%d"}}`, i, i)
	}
	job, p := prefetchOf(t, `{"Name":"instance","Tasks":[`+strings.Join(many, ",")+`]}`)
	if n := len(job.TaskGroups[0].Tasks); n != 16 || len(p.Skipped) != 4 {
		t.Errorf("%d tasks, %d sentences, want bounds of 16 and 4", n, len(p.Skipped))
	}
}

func TestPrefetchJob_BadJob(t *testing.T) {
	for _, job := range []string{``, `null`, `[]`, `{}`, `{"TaskGroups":[1]}`, `{"TaskGroups":[{},{}]}`} {
		if _, err := jobspecs.PrefetchJob(wadi.Revision{ID: "hello-00001", Job: json.RawMessage(job)}, "here"); err == nil {
			t.Errorf("job %q: no error", job)
		}
	}
}

// The programs that do nothing are files that the kernels of both architectures accept.
func TestPrefetchJob_Noop(t *testing.T) {
	_, p := prefetchOf(t, `{"Name":"instance","Tasks":[{"Name":"web","Driver":"docker","Config":{"image":"a:1"}}]}`)
	found := regexp.MustCompile(`base64Decode \\"([^\\]+)\\"`).FindAllStringSubmatch(string(p.Job), -1)
	if len(found) != 2 {
		t.Fatalf("%d programs in %s, want two", len(found), p.Job)
	}
	for i, want := range []elf.Machine{elf.EM_AARCH64, elf.EM_X86_64} {
		program, err := base64.StdEncoding.DecodeString(found[i][1])
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(program))
		if err != nil {
			t.Fatal(err)
		}
		if f.Machine != want || f.Type != elf.ET_EXEC || len(f.Progs) != 1 || f.Progs[0].Filesz != uint64(len(program)) {
			t.Errorf("program %d is %v of %v with %+v", i, f.Type, f.Machine, f.Progs)
		}
	}
}
