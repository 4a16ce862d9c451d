package jobspecs_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// Wadi's variables are replaced by their values wherever a user refers to them: Nomad
// resolves references between variables of one task by chance.
func TestRender_References(t *testing.T) {
	instance := `{"Tasks":[
	{"Name":"web","Driver":"raw_exec",
	 "Config":{"args":["-p","${PORT}","${PORT}${UNKNOWN}","$${PORT}","$PORT"],"mounts":[{"source":"${K_SERVICE}"}]},
	 "Env":{"SERVER_PORT":"${PORT}","URL":"http://${K_SERVICE}:${PORT}/${WADI_REVISION}","KEEP":"${NOMAD_ALLOC_ID}"},
	 "Artifacts":[{"GetterSource":"https://x/${WADI_SERVICE}"}],
	 "Services":[{"Name":"more","Tags":["rev-${K_REVISION}"]}],
	 "Templates":[
	  {"EmbeddedTmpl":"exec ${PORT}","DestPath":"local/${K_CONFIGURATION}","Envvars":false},
	  {"EmbeddedTmpl":"P=${PORT} R=${K_REVISION}","DestPath":"a","Envvars":true},
	  {"EmbeddedTmpl":"P=${PORT}","DestPath":"b","Envvars":true,"LeftDelim":"<<","RightDelim":">>"}]},
	{"Name":"helper","Driver":"raw_exec","Config":{"args":["${PORT}"]}}],
	"Services":[{"Name":"side","Meta":{"port":"${PORT}"}}]}`
	for _, tt := range []struct {
		network             wadi.NetworkMode
		port, template, alt string
	}{
		{wadi.Bridge, "8080", "8080", "8080"},
		{wadi.Host, "${NOMAD_PORT_wadi_app}", `{{ env "NOMAD_PORT_wadi_app" }}`, `<< env "NOMAD_PORT_wadi_app" >>`},
	} {
		t.Run(string(tt.network), func(t *testing.T) {
			s := service()
			s.Network, s.Mesh, s.Instance = tt.network, wadi.MeshOff, json.RawMessage(instance)
			data, err := jobspecs.Render(revisionOf(s), testAgent())
			if err != nil {
				t.Fatal(err)
			}
			var job api.Job
			if err := json.Unmarshal(data, &job); err != nil {
				t.Fatal(err)
			}
			group := job.TaskGroups[0]
			web, helper := group.Tasks[0], group.Tasks[1]
			got := func(v any) string {
				data, err := json.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(data))
			}
			for _, c := range []struct {
				what      string
				got, want any
			}{
				{"args", web.Config["args"], []string{"-p", tt.port, tt.port + "${UNKNOWN}", "$" + tt.port, "$PORT"}},
				{"mounts", web.Config["mounts"], []map[string]string{{"source": "a"}}},
				{"env", web.Env, map[string]string{
					"SERVER_PORT": tt.port, "URL": "http://a:" + tt.port + "/a-00001", "KEEP": "${NOMAD_ALLOC_ID}",
					"PORT": tt.port, "WADI_SERVICE": "a", "WADI_REVISION": "a-00001",
					"K_SERVICE": "a", "K_REVISION": "a-00001", "K_CONFIGURATION": "a",
				}},
				{"artifact", *web.Artifacts[0].GetterSource, "https://x/a"},
				{"task's service", web.Services[0].Tags, []string{"rev-a-00001"}},
				{"text of a template", *web.Templates[0].EmbeddedTmpl, "exec ${PORT}"},
				{"file of a template", *web.Templates[0].DestPath, "local/a"},
				{"template of env", *web.Templates[1].EmbeddedTmpl, "P=" + tt.template + " R=a-00001"},
				{"its own marks", *web.Templates[2].EmbeddedTmpl, "P=" + tt.alt},
				{"helper's args", helper.Config["args"], []string{tt.port}},
				{"group's service", group.Services[1].Meta, map[string]string{"port": tt.port}},
			} {
				if got, want := got(c.got), got(c.want); got != want {
					t.Errorf("%s: got %s, want %s", c.what, got, want)
				}
			}
			if p, ok := helper.Env["PORT"]; ok {
				t.Errorf("a task that does not serve has PORT %q in its environment", p)
			}
		})
	}
}

// Wadi warns of a user's own references between variables of one task.
func TestFinish_EnvByChance(t *testing.T) {
	src := "service \"a\" {\n  instance {\n    task \"web\" {\n      driver = \"x\"\n    }\n  }\n}\n"
	drafts, _ := jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: []byte(src)}, jobspecs.Options{})
	_, problems := drafts[0].Complete([]byte(`{"TaskGroups":[{"Name":"i","Tasks":[{"Name":"web","Driver":"x",
		"Env":{"HOME_URL":"http://${HOST}:${PORT}","HOST":"a","OTHER":"${NOMAD_IP_x}"}}]}]}`))
	want := "a.hcl:3,5: warning: instance.task.web.env.HOME_URL: it refers to HOST in the same env, which Nomad resolves at some starts and leaves as it is at others; write the value, or use a local for both"
	if len(problems) != 1 || problems[0].String() != want {
		t.Errorf("got %v, want %s", problems, want)
	}
}
