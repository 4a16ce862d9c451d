//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An invalid configuration is refused at start, with file and line, and exit code 2.
func TestInput_AgentConfiguration(t *testing.T) {
	t.Parallel()
	const proxy = "queue_proxy {\n  driver = \"raw_exec\"\n  config {\n    command = \"queue-proxy\"\n  }\n}\n"
	for _, tt := range []struct {
		name, hcl string
		want      []string
	}{
		{"broken", "http {\n", []string{"wadi.hcl:1"}},
		{"unknown key", "log_levle = \"info\"\n" + proxy, []string{"wadi.hcl:1", "log_level"}},
		{"unknown block", proxy + "gatewy {}\n", []string{"wadi.hcl:7", "gateway"}},
		{"wrong type", proxy + "name = 3\n", []string{"wadi.hcl:7", "string"}},
		{"not a duration", proxy + "limits {\n  max_request_timeout = \"long\"\n}\n", []string{"wadi.hcl:8", "long"}},
		{"out of range", proxy + "limits {\n  max_instances = 100000\n}\n", []string{"wadi.hcl:8", "10000"}},
		{"bad name", proxy + "name = \"a b\"\n", []string{"wadi.hcl:7", "a b"}},
		{"address", proxy + "metrics {\n  address = \"here\"\n}\n", []string{"wadi.hcl:8", "here"}},
		{"port twice", proxy + "metrics {\n  address = \"127.0.0.1:4747\"\n}\n", []string{"wadi.hcl:8", "http.address"}},
		{"open to all", proxy + "http {\n  address = \"0.0.0.0:4747\"\n  auth = \"none\"\n}\n", []string{"wadi.hcl:9", "loopback"}},
		{"no queue-proxy", "log_level = \"info\"\n", []string{"queue_proxy"}},
		{"queue-proxy without driver", "queue_proxy {\n  config {}\n}\n", []string{"wadi.hcl:1", "driver"}},
		{"Nomad's language", strings.Replace(proxy, "config {", "resources {\n    cpuu = 1\n  }\n  config {", 1), []string{"wadi.hcl:4", "cpuu"}},
		{"default", proxy + "defaults {\n  scale {\n    window = \"1s\"\n  }\n}\n", []string{"wadi.hcl:9", "6s"}},
		{"webhook without address", proxy + "admission \"x\" {}\n", []string{"wadi.hcl:7", "admission.x.url", "required"}},
		{"many at once", "log_levle = 1\nname = 2\n" + proxy, []string{"wadi.hcl:1", "wadi.hcl:2"}},
		{"backend", proxy + "nomad {\n  address = \"ftp://x\"\n}\n", []string{"wadi.hcl:8", "ftp"}},
		{"certificate", proxy + "consul {\n  ca_file = \"/nowhere.pem\"\n}\n", []string{"wadi.hcl:8", "/nowhere.pem"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ran := wadiIn(t, map[string]string{"wadi.hcl": tt.hcl}, "agent", "-config", "wadi.hcl")
			if ran.Code != 2 || ran.Stdout != "" {
				t.Errorf("got %v\nwant exit code 2 and nothing on stdout", ran)
			}
			for _, w := range tt.want {
				if !strings.Contains(ran.Stderr, w) {
					t.Errorf("got stderr %q, want %q in it", ran.Stderr, w)
				}
			}
		})
	}
}

// Wrong usage of the agent command.
func TestInput_AgentCalls(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"agent"}, "-config"},
		{[]string{"agent", "-config", "nosuch.hcl"}, "nosuch.hcl"},
		{[]string{"agent", "-config", "empty"}, "empty"},
		{[]string{"agent", "-nosuch"}, "nosuch"},
		{[]string{"agent", "-config", "x.hcl", "more"}, "argument"},
		{[]string{"agent", "-config", "empty", "-apply", "x.hcl"}, "-dev"},
	} {
		t.Run(fmt.Sprint(tt.args), func(t *testing.T) {
			ran, err := stack.Agent.Wadi(t.Context(), dir, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			if ran.Code != 2 || !strings.Contains(ran.Stderr, tt.want) {
				t.Errorf("got %v\nwant exit code 2 and %q on stderr", ran, tt.want)
			}
		})
	}
}
