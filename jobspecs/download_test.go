package jobspecs_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// The queue-proxy's task fetches its program by a checksum that is in the job, for each
// architecture, and runs that of the node.
func TestRender_Download(t *testing.T) {
	rev := wadi.Revision{ID: "a-00001", Service: "a", Number: 1, Spec: wadi.Service{
		Name: "a", ServingTask: "web", Network: wadi.Host, Mesh: wadi.MeshOff, Instance: json.RawMessage(`{"Tasks": [{"Name": "web"}]}`),
	}}
	amd, arm := strings.Repeat("a", 64), strings.Repeat("b", 64)
	agent := jobspecs.Agent{
		QueueProxyTask: json.RawMessage(`{"Driver": "raw_exec", "Artifacts": [{"GetterSource": "http://mine"}]}`),
		Download:       jobspecs.Download{URL: "http://${attr.unique.network.ip-address}:4748/v1/assets/queue-proxy/", Sums: map[string]string{"arm64": arm, "amd64": amd}},
	}
	raw, err := jobspecs.Render(rev, agent)
	if err != nil {
		t.Fatal(err)
	}
	var job api.Job
	if err := json.Unmarshal(raw, &job); err != nil {
		t.Fatal(err)
	}
	task := job.TaskGroups[0].Tasks[1]
	var got []string
	for _, a := range task.Artifacts {
		line := *a.GetterSource
		if a.RelativeDest != nil {
			line += " " + *a.GetterMode + " " + *a.RelativeDest + " " + a.GetterOptions["checksum"]
		}
		got = append(got, line)
	}
	const url = "http://${attr.unique.network.ip-address}:4748/v1/assets/queue-proxy/"
	want := []string{
		"http://mine",
		url + amd + " file local/queue-proxy_amd64 sha256:" + amd,
		url + arm + " file local/queue-proxy_arm64 sha256:" + arm,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("artifacts (-want +got):\n%s", diff)
	}
	if got := task.Config["command"]; got != "local/queue-proxy_${attr.cpu.arch}" {
		t.Errorf("it runs %v", got)
	}
	if c := task.Constraints; len(c) != 1 || c[0].LTarget != "${attr.cpu.arch}" || c[0].Operand != "set_contains_any" || c[0].RTarget != "amd64,arm64" {
		t.Errorf("constraints %+v", c)
	}
	if diff := cmp.Diff([]string{amd, arm}, agent.Download.Checksums()); diff != "" {
		t.Errorf("checksums (-want +got):\n%s", diff)
	}

	agent.Download = jobspecs.Download{}
	plain, err := jobspecs.Render(rev, agent)
	if err != nil || strings.Contains(string(plain), "checksum") || strings.Contains(string(plain), "Constraints") {
		t.Errorf("without: %v\n%s", err, plain)
	}
}
