//go:build e2e

package images_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/test/harness/containers"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// The ways to give a password that docs/secrets.md names work, with registries and a server
// that want one each, and the passwords are nowhere.
func TestSecrets_Ways(t *testing.T) {
	t.Parallel()
	const user = "puller"
	passwords := map[string]string{"the plugin's password": "p1-0b5d9c77", "the template's password": "p2-6c1e44aa", "the secret's password": "p3-93fd2e08", "the artifact's password": "p4-a7c210ef"}
	private := func(of, name string) *containers.Registry {
		r := serveRegistry(t, containers.RegistryOptions{Username: user, Password: passwords[of]})
		pushVersion(t, r, name+":1", name)
		return r
	}
	plugin, template, secret := private("the plugin's password", "by-plugin"), private("the template's password", "by-template"), private("the secret's password", "by-secret")

	logins, err := json.Marshal(map[string]any{"auths": map[string]any{plugin.Address(): map[string]string{
		"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + passwords["the plugin's password"]))}}})
	harnesstest.Must(t, "encode logins", err)
	harnesstest.Must(t, "write logins", os.WriteFile(agent.clientLogins(), logins, 0o600))

	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		if password != passwords["the artifact's password"] && r.Header.Get("Authorization") != "Bearer "+passwords["the artifact's password"] {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, "fetched")
	}))
	t.Cleanup(files.Close)
	v := nomad.NewVariable("nomad/jobs")
	v.Items = map[string]string{"template": passwords["the template's password"], "secret": passwords["the secret's password"], "artifact": passwords["the artifact's password"]}
	_, _, err = stack.Nomad.Variables().Create(v, nil)
	harnesstest.Must(t, "store a variable", err)
	t.Cleanup(func() { _, _ = stack.Nomad.Variables().Delete(v.Path, nil) })

	services := map[string]string{
		"by-plugin": behindLogin("by-plugin", plugin.Ref("by-plugin:1"), "", ""),
		"by-template": behindLogin("by-template", template.Ref("by-template:1"), `auth {
          username = "puller"
          password = "${REGISTRY_PASSWORD}"
        }`, `template {
        destination = "secrets/registry.env"
        env         = true
        data        = "REGISTRY_PASSWORD={{ with nomadVar \"nomad/jobs\" }}{{ .template }}{{ end }}"
      }`),
		"by-secret": behindLogin("by-secret", secret.Ref("by-secret:1"), `auth {
          username = "puller"
          password = "${secret.registry.secret}"
        }`, `secret "registry" {
        provider = "nomad"
        path     = "nomad/jobs"
      }
      artifact {
        source      = "http://puller:${secret.registry.artifact}@`+strings.TrimPrefix(files.URL, "http://")+`/one"
        destination = "local/one"
      }
      artifact {
        source      = "`+files.URL+`/two"
        destination = "local/two"
        headers {
          Authorization = "Bearer ${secret.registry.artifact}"
        }
      }`),
	}
	stack.Deploy(t, strings.Join(slices.Collect(maps.Values(services)), "\n"))
	for name := range services {
		if res := stack.Get(t, name, "/"); res.Status != http.StatusOK {
			t.Errorf("%s answers %d %s", name, res.Status, res.Body)
		}
		for _, args := range [][]string{{"service", "status", "-json", name}, {"revision", "job", "-hcl", name + "-00001"}, {"events", "-service", name}, {"explain", name}} {
			ran, err := stack.Agent.Wadi(t.Context(), t.TempDir(), args...)
			harnesstest.Must(t, "run wadi", err)
			harnesstest.WantNone(t, strings.Join(args, " "), ran.String(), passwords)
		}
	}
	stack.LookEverywhere(t, passwords)
}

// behindLogin is a service whose image needs a login.
func behindLogin(name, image, auth, more string) string {
	return strings.Replace(strings.Replace(tagged(name, image), `config {`, "config {\n        "+auth, 1), "resources {", more+"\n      resources {", 1)
}

// A password is refused however it is submitted and written, and is nowhere afterwards.
func TestSecrets_Refused(t *testing.T) {
	t.Parallel()
	const marker = "m4rk3r-5e0c1d"
	marked := map[string]string{"the password": marker, "the password in base64": base64.StdEncoding.EncodeToString([]byte("me:" + marker))}
	block := func(value string) string { return "auth {\n username = \"me\"\n password = " + value + "\n }" }
	variable := "variable \"password\" {\n type = string\n}\n"
	shapes := map[string]string{
		"literal":    behindLogin("leaky", "127.0.0.1:1/x:1", block(`"`+marker+`"`), ""),
		"map":        behindLogin("leaky", "127.0.0.1:1/x:1", `auth = { password = "`+marker+`" }`, ""),
		"list":       behindLogin("leaky", "127.0.0.1:1/x:1", `auth = [{ password = "`+marker+`" }]`, ""),
		"json":       behindLogin("leaky", "127.0.0.1:1/x:1", `auth = jsondecode("{\"password\": \"`+marker+`\"}")`, ""),
		"dynamic":    behindLogin("leaky", "127.0.0.1:1/x:1", "dynamic \"auth\" {\n for_each = [\""+marker+"\"]\n content {\n password = auth.value\n }\n }", ""),
		"expression": behindLogin("leaky", "127.0.0.1:1/x:1", block(`join("-", ["`+marker[:6]+`", "`+marker[7:]+`"])`), ""),
		"local":      "locals {\n p = \"" + marker + "\"\n}\n" + behindLogin("leaky", "127.0.0.1:1/x:1", block("local.p"), ""),
		"default":    strings.Replace(variable, "type = string", "default = \""+marker+"\"", 1) + behindLogin("leaky", "127.0.0.1:1/x:1", block("var.password"), ""),
		"env":        behindLogin("leaky", "127.0.0.1:1/x:1", block(`"${P}"`), "env {\n P = \""+marker+"\"\n }"),
		"template":   behindLogin("leaky", "127.0.0.1:1/x:1", block(`"${P}"`), "template {\n destination = \"secrets/x\"\n env = true\n data = \"P="+marker+"\\n\"\n }"),
		"image":      behindLogin("leaky", "me:"+marker+"@127.0.0.1:1/x:1", "", ""),
		"artifact":   behindLogin("leaky", "127.0.0.1:1/x:1", "", "artifact {\n source = \"https://me:"+marker+"@127.0.0.1:1/x\"\n }"),
		"header":     behindLogin("leaky", "127.0.0.1:1/x:1", "", "artifact {\n source = \"https://127.0.0.1:1/x\"\n headers {\n Authorization = \"Basic "+marked["the password in base64"]+"\"\n }\n }"),
		"docker":     behindLogin("leaky", "127.0.0.1:1/x:1", "", "template {\n destination = \"local/x\"\n data = jsonencode({auths = {x = {auth = \""+marked["the password in base64"]+"\"}}})\n }"),
	}
	given := variable + behindLogin("leaky", "127.0.0.1:1/x:1", block("var.password"), "")
	mistyped := strings.Replace(given, "type = string", "type = number", 1)
	dir := t.TempDir()
	write := func(name, text string) {
		harnesstest.Must(t, "write a file", os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("given.hcl", given)
	write("mistyped.hcl", mistyped)
	write("p.vars", "password = \""+marker+"\"\n")
	refused := func(what string, env []string, args ...string) {
		t.Helper()
		ran, err := stack.Agent.WadiWith(t.Context(), dir, env, args...)
		harnesstest.Must(t, "run wadi", err)
		if ran.Code == 0 || !strings.Contains(ran.Stderr+ran.Stdout, ".hcl") || !strings.Contains(ran.Stderr+ran.Stdout, "secrets.md") && !strings.Contains(ran.Stderr, "does not fit") {
			t.Errorf("%s: %v is not refused with a place and a remedy: %s", what, args, ran)
		}
		harnesstest.WantNone(t, what+" "+args[0], ran.String(), marked)
	}
	for name, source := range shapes {
		write(name+".hcl", source)
		refused(name, nil, "apply", "-detach", name+".hcl")
		refused(name, nil, "plan", name+".hcl")
		refused(name, nil, "apply", "-json", "-detach", name+".hcl")
		_, err := stack.Agent.Client.Validate(t.Context(), api.Submission{Files: []api.File{{Name: "a.hcl", Source: source}}})
		if err == nil {
			t.Errorf("%s: the API takes it", name)
		}
		harnesstest.WantNone(t, name+", by the API", fmt.Sprint(err), marked)
	}
	for _, command := range [][]string{{"apply", "-detach"}, {"plan"}, {"validate"}} {
		for _, file := range []string{"given.hcl", "mistyped.hcl"} {
			refused("-var", nil, append(append([]string{}, command...), "-var", "password="+marker, file)...)
			refused("-var-file", nil, append(append([]string{}, command...), "-var-file", "p.vars", file)...)
			refused("environment", []string{"WADI_VAR_password=" + marker}, append(append([]string{}, command...), file)...)
		}
	}
	for _, args := range [][]string{{"service", "list"}, {"service", "status", "leaky"}, {"events"}, {"doctor"}} {
		ran, err := stack.Agent.Wadi(t.Context(), dir, args...)
		harnesstest.Must(t, "run wadi", err)
		harnesstest.WantNone(t, strings.Join(args, " "), ran.String(), marked)
		if args[0] == "service" && args[1] == "list" && strings.Contains(ran.Stdout, "leaky") {
			t.Errorf("it is stored: %s", ran)
		}
	}
	stack.LookEverywhere(t, marked)
	if jobs, _, err := stack.Nomad.Jobs().PrefixList("leaky"); err != nil || len(jobs) > 0 {
		t.Errorf("jobs: %v, %v", jobs, err)
	}
}

// What is likely a secret is warned of by apply, plan and status, and a plan does not show it.
func TestSecrets_Likely(t *testing.T) {
	t.Parallel()
	values := map[string]string{"the old value": "m4rk3r-old-77", "the new value": "m4rk3r-new-78"}
	source := func(value string) string {
		return behindLogin("guessed", "127.0.0.1:1/x:1", `args = ["--api-token=`+value+`", "--password", "`+value+`"]`, "env {\n DB_PASSWORD = \""+value+"\"\n URL = \"postgres://u:"+value+"@db/x\"\n }\n"+
			"template {\n destination = \"local/x\"\n data = \"A=1\\nAPI_KEY="+value+"\\n\"\n }")
	}
	dir := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		ran, err := stack.Agent.Wadi(t.Context(), dir, args...)
		harnesstest.Must(t, "run wadi", err)
		for _, path := range []string{"env.DB_PASSWORD", "env.URL", "config.args", "template[0].data"} {
			if !strings.Contains(ran.String(), "instance.task.web."+path+": ") {
				t.Errorf("%v does not warn of %s: %s", args, path, ran)
			}
		}
		return ran.String()
	}
	write := func(value string) {
		harnesstest.Must(t, "write a file", os.WriteFile(filepath.Join(dir, "guessed.hcl"), []byte(strings.Replace(source(value), "instance {", unstarted+"\n instance {", 1)), 0o600))
	}
	write(values["the old value"])
	t.Cleanup(func() { stack.Remove(t, "guessed") })
	harnesstest.WantNone(t, "apply", run("apply", "-detach", "guessed.hcl"), values)
	harnesstest.WantNone(t, "status", run("service", "status", "guessed"), values)
	write(values["the new value"])
	for _, args := range [][]string{{"plan", "guessed.hcl"}, {"plan", "-json", "guessed.hcl"}} {
		text := run(args...)
		if !strings.Contains(text, "hidden-by-wadi") {
			t.Errorf("%v shows no difference: %s", args, text)
		}
		harnesstest.WantNone(t, strings.Join(args, " "), text, values)
	}
}
