package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/internal/setup"
	"github.com/wadi-run/wadi/internal/survey"
)

// answering is a Nomad or a Consul with these answers by path; what is not there is 404.
func answering(t *testing.T, answers map[string]string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text, there := answers[r.URL.Path]; there {
			_, _ = w.Write([]byte(text))
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// aCluster is the environment for a Nomad with one node and ACLs, and a Consul with neither
// ACLs nor rights to more.
func aCluster(t *testing.T) []string {
	t.Helper()
	ofNomad := answering(t, map[string]string{
		"/v1/status/leader": `"x"`, "/v1/acl/token/self": `{"AccessorID":"a"}`, "/v1/namespaces": `[{"Name":"default"}]`,
		"/v1/agent/members": `{"ServerRegion":"global","Members":[{"Name":"a","Tags":{"build":"1.11.3","region":"global"}}]}`,
		"/v1/nodes":         `[]`, "/v1/agent/self": `{}`,
	})
	return []string{"NOMAD_ADDR=" + ofNomad, "NOMAD_TOKEN=5f1b6c1e-0000-4000-8000-00000000000e", "CONSUL_HTTP_ADDR=" + answering(t, map[string]string{"/v1/status/leader": `"x"`, "/v1/agent/connect/ca/roots": `{}`})}
}

// wadiInit runs the command where nobody can be asked.
func wadiInit(t *testing.T, env []string, args ...string) output {
	t.Helper()
	return (&bench{}).wadiIn(t.Context(), "", env, append([]string{"init"}, args...)...)
}

func TestInit_Files(t *testing.T) {
	env, dir := aCluster(t), filepath.Join(t.TempDir(), "new", "wadi")
	o := wadiInit(t, env, "-dir", dir, "-yes", "-json", "-runs-as", "service", "-driver", "exec", "-mesh", "on", "-envoy", "docker",
		"-domain", "apps.example.com", "-namespaces", "b,a,b", "-prefix", "x", "-bin", "/opt/x", "-release", "https://e.com/w.tgz", "-checksum", "sha256:00")
	if o.code != 0 || o.stderr != "" {
		t.Fatalf("got %+v", o)
	}
	var got setupJSON
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"runs_as": "service", "mesh": true, "driver": "exec", "envoy_image": true, "domain": "apps.example.com",
		"namespaces": []any{"b", "a"}, "prefix": "x/", "bin": "/opt/x"}
	if diff := cmp.Diff(want, got.Chosen); diff != "" {
		t.Errorf("chosen (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"wadi.hcl", "nomad-policy.hcl", "consul-policy.hcl", "wadi-node.nomad.hcl"}, got.Files); diff != "" || len(got.Steps) == 0 || len(got.Notes) == 0 || got.Dir != dir {
		t.Errorf("%s%+v", diff, got)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(got.Files) {
		t.Errorf("there is %v, %v", entries, err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil || strings.Contains(string(text), "00000000000e") {
			t.Errorf("%s has the token, or %v", e.Name(), err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "wadi.hcl")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// Nothing is overwritten without -force, and nothing is half done.
func TestInit_KeepsWhatIsThere(t *testing.T) {
	env, dir := aCluster(t), t.TempDir()
	precious := filepath.Join(dir, "nomad-policy.hcl")
	if err := os.Symlink("/nowhere/precious", precious); err != nil {
		t.Fatal(err)
	}
	if o := wadiInit(t, env, "-dir", dir, "-yes"); o.code != exitFailed || o.stderr != "Error: "+dir+" has nomad-policy.hcl already; -force replaces what is there, -dir names another folder\n" || o.stdout != "" {
		t.Errorf("got %+v", o)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("there is %v", entries)
	}
	if o := wadiInit(t, env, "-dir", dir, "-yes", "-force"); o.code != 0 {
		t.Errorf("got %+v", o)
	}
	if info, err := os.Lstat(precious); err != nil || !info.Mode().IsRegular() { // Not written through the link.
		t.Errorf("%v %v", info, err)
	}
	job := filepath.Join(dir, "wadi.nomad.hcl")
	if err := errors.Join(os.Remove(job), os.Mkdir(job, 0o700)); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "wadi.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	if o := wadiInit(t, env, "-dir", dir, "-yes", "-force", "-domain", "other.example.com"); o.code != exitFailed || !strings.Contains(o.stderr, job+" is a folder; -dir names another one") {
		t.Errorf("got %+v", o)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "wadi.hcl")); err != nil || string(after) != string(before) {
		t.Errorf("half of the files were written: %v, %s", err, after)
	}
	made := filepath.Join(dir, "made")
	if o := wadiInit(t, env, "-dir", made, "-yes", "-domain", "No_Domain"); o.code != exitUsage || !strings.Contains(o.stderr, `an agent would refuse these choices: wadi.hcl:`) || !strings.Contains(o.stderr, `gateway.domain: "No_Domain" is not`) {
		t.Errorf("got %+v", o)
	}
	if _, err := os.Stat(made); err == nil {
		t.Error("the folder was left behind")
	}
	if o := wadiInit(t, env, "-dir", precious+"/x", "-yes"); o.code != exitFailed {
		t.Errorf("a folder below a file: got %+v", o)
	}
}

func TestInit_Usage(t *testing.T) {
	env, dir := aCluster(t), filepath.Join(t.TempDir(), "x")
	for want, args := range map[string][]string{
		"without a terminal nothing can be asked; -yes takes": {},
		"-json goes with -yes":                                {"-json"},
		`-runs-as "vm": it is job or service`:                 {"-yes", "-runs-as", "vm"},
		`-mesh "maybe": it is on or off`:                      {"-yes", "-mesh", "maybe"},
		`-driver "java": it is raw_exec or exec or docker`:    {"-yes", "-driver", "java"},
		`-envoy "no": it is docker or program`:                {"-yes", "-envoy", "no"},
		`-bin "bin": it is a folder of the nodes`:             {"-yes", "-bin", "bin"},
		`-prefix "/x": it is a path`:                          {"-yes", "-prefix", "/x"},
		`-namespaces: "a b" is no name`:                       {"-yes", "-namespaces", "a b"},
		"-checksum goes with -release":                        {"-yes", "-checksum", "sha256:0"},
		"too many arguments: out":                             {"-yes", "out"},
		`-nomad-address: "ftp://x" is not an address`:         {"-yes", "-nomad-address", "ftp://x"},
	} {
		if o := wadiInit(t, env, append([]string{"-dir", dir}, args...)...); o.code != exitUsage || !strings.Contains(o.stderr, want) || o.stdout != "" {
			t.Errorf("%v: got %+v, want %q", args, o, want)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder was made")
	}
}

// The names in certificates are those of Nomad's and Consul's own variables.
func TestInit_ServerName(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	env := []string{"NOMAD_ADDR=" + secure.URL, "NOMAD_TLS_SERVER_NAME=server.global.nomad", "CONSUL_HTTP_ADDR=" + secure.URL, "CONSUL_TLS_SERVER_NAME=server.dc1.consul"}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	o := wadiInit(t, append(env, "NOMAD_CACERT="+ca, "CONSUL_CACERT="+ca), "-dir", filepath.Join(t.TempDir(), "x"), "-yes")
	for _, name := range []string{"not server.global.nomad", "not server.dc1.consul"} {
		if o.code != exitFailed || !strings.Contains(o.stderr, name) {
			t.Errorf("%s: got %+v", name, o)
		}
	}
}

// Addresses that are swapped are noticed, though each answers the other's first question.
func TestInit_Swapped(t *testing.T) {
	env := aCluster(t)
	for i, e := range env {
		if address, is := strings.CutPrefix(e, "NOMAD_ADDR="); is {
			env[i] = "CONSUL_HTTP_ADDR=" + address
		} else if address, is := strings.CutPrefix(e, "CONSUL_HTTP_ADDR="); is {
			env[i] = "NOMAD_ADDR=" + address
		}
	}
	o := wadiInit(t, env, "-dir", filepath.Join(t.TempDir(), "x"), "-yes")
	if o.code != exitFailed || !strings.Contains(o.stderr, "what answers is not Nomad: look at Nomad at ") || !strings.Contains(o.stderr, "what answers is not Consul: look at Consul at ") {
		t.Errorf("got %+v", o)
	}
}

// Both are named when neither answers, and nothing is suggested about agents.
func TestInit_NothingAnswers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	o := wadiInit(t, []string{"NOMAD_ADDR=http://127.0.0.1:1", "CONSUL_HTTP_ADDR=127.0.0.1:2"}, "-dir", dir, "-yes")
	for _, text := range []string{"look at Nomad at http://127.0.0.1:1, or name another with -nomad-address or NOMAD_ADDR", "look at Consul at http://127.0.0.1:2, or name another with -consul-address"} {
		if o.code != exitFailed || !strings.Contains(o.stderr, text) || strings.Contains(o.stderr, "agent running") {
			t.Errorf("%q: got %+v", text, o)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder was made")
	}
}

// A person is asked what no flag says, again after a bad answer, and what follows from the
// answers before.
func TestInit_Questions(t *testing.T) {
	cluster := setup.Cluster{}
	cluster.Nomad.ACLs.Value = true
	cluster.Nomad.Nodes.Value.Ready = []survey.Node{{ID: "1", Pool: "default", Drivers: map[string]survey.Driver{"exec": {Healthy: true}}}}
	suggested := setup.Suggest(cluster)
	for name, tt := range map[string]struct {
		flags  initFlags
		typed  string
		want   initFlags
		asked  int
		refuse bool
	}{
		"all as suggested": {typed: "\n\n\n\n\n\n", asked: 6,
			want: initFlags{runsAs: "job", driver: "exec", program: "nodes", mesh: "off", domain: "wadi.localhost", namespaces: "*"}},
		"with answers": {typed: "vm\nservice\nraw_exec\n \nagent\nagents\non\ndocker\nNo Domain\nexample.com\na b\na,b\n", asked: 12,
			want: initFlags{runsAs: "service", driver: "exec", program: "agents", mesh: "on", envoy: "docker", domain: "example.com", namespaces: "a,b"}},
		"flags": {flags: initFlags{runsAs: "job", driver: "docker", mesh: "on", envoy: "docker", namespaces: "x"}, typed: "\n", asked: 1,
			want: initFlags{runsAs: "job", driver: "docker", mesh: "on", envoy: "docker", namespaces: "x", domain: "wadi.localhost"}},
		"too long": {typed: strings.Repeat("x", 3*maxAnswer) + "\njob\n\n\n\n\n\n", asked: 7,
			want: initFlags{runsAs: "job", driver: "exec", program: "nodes", mesh: "off", domain: "wadi.localhost", namespaces: "*"}},
		"the end": {typed: "job\n", refuse: true},
	} {
		var out strings.Builder
		got := tt.flags
		err := got.ask(t.Context(), newQuestions(strings.NewReader(tt.typed), &out), cluster, suggested)
		if (err != nil) != tt.refuse || !tt.refuse && (got != tt.want || strings.Count(out.String(), "]: ") != tt.asked) {
			t.Errorf("%s: got %+v, %v after\n%s", name, got, err, out.String())
		}
	}
}

// Ctrl-C ends the questions, though nothing ends the read from the terminal.
func TestInit_Interrupted(t *testing.T) {
	in, typed := io.Pipe()
	defer func() { _ = typed.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var f initFlags
	if err := f.ask(ctx, newQuestions(in, io.Discard), setup.Cluster{}, setup.Suggest(setup.Cluster{})); !errors.Is(err, errNoAnswer) {
		t.Errorf("got %v", err)
	}
}

// The names that init refuses to overwrite are those that it writes.
func TestInit_Names(t *testing.T) {
	var cluster setup.Cluster
	cluster.Nomad.ACLs.Value, cluster.Consul.ACLs.Value = true, true
	files, err := setup.Files(cluster, setup.Suggest(cluster))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkFolder(dir, false); err == nil {
			t.Errorf("%s would be overwritten", f.Name)
		}
		if err := os.Remove(filepath.Join(dir, f.Name)); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.ContainsFunc(files, func(f setup.File) bool { return f.Name == setup.AgentsJobFile }) {
		t.Errorf("got %v", files)
	}
}
