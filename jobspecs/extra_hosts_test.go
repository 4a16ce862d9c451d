package jobspecs_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// TestRender_ExtraHosts: whichever container starts first brings the hosts file of all, so
// the sidecars have the app's entries too.
func TestRender_ExtraHosts(t *testing.T) {
	const nomads = `{"Driver":"docker","Config":{"extra_hosts":["db:10.0.0.1"]},"Resources":{"CPU":250,"MemoryMB":128},"LogConfig":{"MaxFiles":2,"MaxFileSizeMB":2},"ShutdownDelay":5000000000}`
	app := func(driver string) string {
		return `{"Tasks":[{"Name":"web","Driver":"` + driver + `","Config":{"extra_hosts":["db:10.0.0.1"]}}]}`
	}
	db, both := []any{"db:10.0.0.1"}, []any{"db:10.0.0.1", "own:10.0.0.7"}
	for _, tt := range []struct {
		name, instance, proxy, envoy  string
		network                       wadi.NetworkMode
		wantApp, wantProxy, wantEnvoy []any
		wantDriver                    string
	}{
		{"all are containers", app("docker"), "docker", `{"Driver":"docker","Config":{"image":"e"}}`, wadi.Bridge, db, db, db, "docker"},
		{"Envoy is Nomad's own", app("docker"), "raw_exec", "", wadi.Bridge, db, nil, db, "docker"},
		{"podman", app("podman"), "podman", "", wadi.Bridge, db, db, db, "podman"},
		{"Envoy is a process", app("docker"), "docker", `{"Driver":"raw_exec"}`, wadi.Bridge, db, db, nil, "raw_exec"},
		{"Envoy has its own", app("docker"), "docker", `{"Driver":"docker","Config":{"extra_hosts":["own:10.0.0.7"]}}`, wadi.Bridge, both, both, both, "docker"},
		{"the app is a process", app("exec"), "docker", "", wadi.Bridge, db, nil, nil, ""},
		{"none", `{"Tasks":[{"Name":"web","Driver":"docker"}]}`, "docker", "", wadi.Bridge, nil, nil, nil, ""},
		{"host network", app("docker"), "docker", "", wadi.Host, db, nil, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, a := service(), testAgent()
			s.Instance, s.ServingTask = json.RawMessage(tt.instance), "web"
			s.Network, s.Mesh = tt.network, wadi.MeshEnvoy
			if tt.network == wadi.Host {
				s.Mesh = wadi.MeshOff
			}
			a.QueueProxyTask, a.SidecarTask = json.RawMessage(`{"Driver":"`+tt.proxy+`","Config":{}}`), json.RawMessage(tt.envoy)
			data, err := jobspecs.Render(revisionOf(s), a)
			if err != nil {
				t.Fatal(err)
			}
			var job api.Job
			if err := json.Unmarshal(data, &job); err != nil {
				t.Fatal(err)
			}
			hosts := func(config map[string]any) []any {
				list, _ := config["extra_hosts"].([]any)
				return list
			}
			group := job.TaskGroups[0]
			got := [][]any{hosts(group.Tasks[0].Config), hosts(group.Tasks[1].Config), nil}
			driver := ""
			if connect := group.Services[0].Connect; connect != nil && connect.SidecarTask != nil {
				got[2], driver = hosts(connect.SidecarTask.Config), connect.SidecarTask.Driver
				if tt.envoy == "" && driver == "docker" {
					var want api.SidecarTask
					if err := json.Unmarshal([]byte(nomads), &want); err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(&want, connect.SidecarTask); diff != "" || *want.ShutdownDelay != 5*time.Second {
						t.Errorf("Envoy is not as Nomad makes it: %s", diff)
					}
				}
			}
			if diff := cmp.Diff([][]any{tt.wantApp, tt.wantProxy, tt.wantEnvoy}, got); diff != "" || driver != tt.wantDriver {
				t.Errorf("app, queue-proxy, Envoy (%s, want %s): %s", driver, tt.wantDriver, diff)
			}
		})
	}
}
