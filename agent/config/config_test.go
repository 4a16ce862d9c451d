package config_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/rules"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/jobspecs"
)

var update = flag.Bool("update", false, "rewrite golden files")

func noEnv(string) string { return "" }

func envOf(m map[string]string) func(string) string { return func(k string) string { return m[k] } }

// write puts files into a directory, and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, text string, env map[string]string, f config.Flags) config.Config {
	t.Helper()
	cfg, problems := config.Load([]string{write(t, map[string]string{"wadi.hcl": text})}, envOf(env), f)
	if jobspecs.HasErrors(problems) {
		t.Fatalf("problems: %v", problems)
	}
	return cfg
}

const sidecar = `queue_proxy { driver = "docker" }` + "\n"

func TestLoad_Example(t *testing.T) {
	got, problems := config.Load([]string{"example.hcl"}, noEnv, config.Flags{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := config.Default()
	want.LogJSON = true
	want.Telemetry = config.Telemetry{OTLPEndpoint: "http://127.0.0.1:4318", AccessLog: true}
	want.Mesh.Shield = true
	want.Images.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")}
	want.Images.InsecureRegistries = []string{"registry.example.com:5000"}
	want.Name, want.Advertise = "wadi-1", "10.0.0.5"
	want.HTTP.AllowedHosts = []string{"wadi.example.com"}
	want.Gateway.Domain, want.Gateway.PublicPort = "apps.example.com", 80
	want.Gateway.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	want.Nomad.Region, want.Nomad.Token = "global", "5f1b6c1e-0000-0000-0000-000000000000"
	want.Consul.Token = "9a3e2d7c-0000-0000-0000-000000000000"
	want.Webhooks = []config.Webhook{{Name: "policy", URL: "https://policy.example.com/admit", Kind: "validate", OnFailure: "refuse", Timeout: 2 * time.Second}}
	want.Assets = config.Assets{Dir: "/var/lib/wadi/assets", Arch: []string{"amd64"}}
	want.AdmissionRules = rules.Rules{Meta: []string{"team"}, Drivers: []string{"docker"}}
	for _, pattern := range []string{"ghcr.io/acme/**", "docker.io/library/*:*", "quay.io/acme/*@sha256:*"} {
		i, err := rules.ParseImage(pattern)
		if err != nil {
			t.Fatal(err)
		}
		want.AdmissionRules.Images = append(want.AdmissionRules.Images, i)
	}
	opts := cmp.Options{
		cmp.Comparer(func(a, b rules.Image) bool { return a.String() == b.String() }),
		cmpopts.IgnoreFields(config.Config{}, "QueueProxyTask", "SidecarTask", "Defaults"),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	}
	if diff := cmp.Diff(want, got, opts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s := got.Defaults.Service(); s.Scale.Window != wadi.Duration(90*time.Second) {
		t.Errorf("default window is %s, want 1m30s", s.Scale.Window)
	} else if len(s.Scale.Metrics) != 1 || s.Scale.Metrics[0].Utilization != 0.6 || len(s.Scale.Schedules) != 1 {
		t.Errorf("default metrics and schedules are %+v, %+v", s.Scale.Metrics, s.Scale.Schedules)
	}
	if !strings.Contains(string(got.QueueProxyTask), `wadi/queue-proxy:0.1`) ||
		!strings.Contains(string(got.SidecarTask), `${NOMAD_SECRETS_DIR}`) {
		t.Errorf("tasks are %s and %s", got.QueueProxyTask, got.SidecarTask)
	}
}

// The blocks of TLS are comments in the example, as their files have to exist.
func TestLoad_TLS(t *testing.T) {
	source, err := os.ReadFile("example.hcl")
	if err != nil {
		t.Fatal(err)
	}
	dir := write(t, map[string]string{
		"api.pem": "", "api.key": "", "ca.pem": "", "docker.json": "{}", "registry-ca.pem": "",
		"acme-ca.pem": "", "acme.key": "", "eab.key": "",
	})
	text := strings.ReplaceAll(string(source), "\n  # ", "\n  ")
	c := load(t, strings.NewReplacer("\"/etc/wadi/certs", "\""+dir, "/etc/docker/certs.d", dir, "\"/etc/wadi/", "\""+dir+"/").Replace(text), nil, config.Flags{})
	http := config.HTTPTLS{CertFile: dir + "/api.pem", KeyFile: dir + "/api.key", CAFile: dir + "/ca.pem", VerifyClient: true}
	if c.HTTP.TLS != http || !http.Enabled() {
		t.Errorf("got %+v, want %+v", c.HTTP.TLS, http)
	}
	if c.Images.DockerConfig != dir+"/docker.json" || c.Images.CAFile != dir+"/registry-ca.pem" || c.Images.CertsDir != dir {
		t.Errorf("got %+v", c.Images)
	}
	got := c.Gateway.TLS
	want := config.GatewayTLS{Address: "0.0.0.0:8443", PublicPort: 443, CertDir: dir, Redirect: true, ACME: config.ACME{
		AgreeTerms: true, Directory: config.LetsEncrypt, Email: "ops@example.com", CAFile: dir + "/acme-ca.pem",
		Challenges: []string{"http-01", "tls-alpn-01"}, RenewBefore: 720 * time.Hour, MaxDomains: 1000, OrdersPerHour: 80,
		EncryptionKeyFile: dir + "/acme.key", EABKeyID: "kid-1", EABMACKeyFile: dir + "/eab.key",
	}}
	if diff := cmp.Diff(want, got); diff != "" || !got.Enabled() {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c = load(t, sidecar+"gateway {\n  tls {\n    acme { agree_terms = true }\n  }\n}", nil, config.Flags{})
	if got := c.Gateway.TLS; !got.Enabled() || got.CertDir != "" || got.ACME.Directory != config.LetsEncrypt {
		t.Errorf("got %+v", got)
	}
	c = load(t, sidecar+"gateway {\n  tls { cert_dir = \"testdata\" }\n}\nconsul { allow_intentions = true }", nil, config.Flags{})
	if c.Gateway.TLS.Address != "0.0.0.0:8443" || c.Gateway.TLS.Redirect || !c.Consul.AllowIntentions {
		t.Errorf("got %+v", c)
	}
	if c := load(t, sidecar, nil, config.Flags{}); c.Gateway.TLS.Enabled() || c.HTTP.TLS.Enabled() {
		t.Error("there is a listener for HTTPS without a block")
	}
}

// A later file changes one setting of a webhook, and adds another one behind it.
func TestLoad_WebhooksOfSeveralFiles(t *testing.T) {
	dir := write(t, map[string]string{
		"1.hcl": sidecar + "admission \"b\" {\n  url = \"https://b.example.com\"\n  kind = \"mutate\"\n}\n",
		"2.hcl": "admission \"a\" {\n  url = \"http://127.0.0.1:9000/\"\n}\nadmission \"b\" {\n  timeout = \"1s\"\n  on_failure = \"ignore\"\n}\n",
	})
	c, problems := config.Load([]string{dir}, noEnv, config.Flags{Name: "one"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := []config.Webhook{
		{Name: "b", URL: "https://b.example.com", Kind: "mutate", OnFailure: "ignore", Timeout: time.Second},
		{Name: "a", URL: "http://127.0.0.1:9000/", Kind: "validate", OnFailure: "refuse", Timeout: 2 * time.Second},
	}
	if diff := cmp.Diff(want, c.Webhooks); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoad_TooManyWebhooks(t *testing.T) {
	var text strings.Builder
	for i := range 17 {
		fmt.Fprintf(&text, "admission \"w%d\" {\n  url = \"https://example.com\"\n  timeout = \"1s\"\n}\n", i)
	}
	file := filepath.Join(write(t, map[string]string{"wadi.hcl": sidecar + text.String()}), "wadi.hcl")
	_, problems := config.Load([]string{file}, noEnv, config.Flags{})
	if len(problems) != 1 || problems[0].String() != file+":66,1: admission.w16: at most 16 webhooks are possible" {
		t.Errorf("got %v", problems)
	}
}

// While all webhooks are away, those that are ignored then take less time than a submission has.
func TestLoad_WebhooksTakeTooLong(t *testing.T) {
	for last, good := range map[string]bool{"4s": true, "4001ms": false} {
		var text strings.Builder
		for i, timeout := range []string{"10s", "10s", last} {
			fmt.Fprintf(&text, "admission \"w%d\" {\n  url = \"https://example.com\"\n  timeout = %q\n}\n", i, timeout)
		}
		file := filepath.Join(write(t, map[string]string{"wadi.hcl": sidecar + text.String()}), "wadi.hcl")
		_, problems := config.Load([]string{file}, noEnv, config.Flags{})
		want := file + ":12,13: admission.w2.timeout: with it the timeouts of all webhooks are more than 24s together"
		if bad := len(problems) == 1 && strings.HasPrefix(problems[0].String(), want); bad == good || good && len(problems) > 0 {
			t.Errorf("%s: got %v", last, problems)
		}
	}
}

func TestLoad_OTLPEndpoint(t *testing.T) {
	for endpoint, want := range map[string]string{
		"":                                   "",
		"http://127.0.0.1:4318":              "",
		"https://otlp.example.com/tenant/":   "",
		"127.0.0.1:4318":                     "is not the address of a collector",
		"grpc://127.0.0.1:4318":              "is not the address of a collector",
		"http://":                            "is not the address of a collector",
		"http://a.example/?token=1":          "is not the address of a collector",
		"http://127.0.0.1:4317":              "OTLP over gRPC",
		"http://127.0.0.1:4318/v1/traces":    "leave out /v1/traces",
		"https://me:secret@otlp.example.com": "no user may stand in it",
	} {
		file := filepath.Join(write(t, map[string]string{"wadi.hcl": sidecar + "telemetry {\n  otlp_endpoint = \"" + endpoint + "\"\n}\n"}), "wadi.hcl")
		cfg, problems := config.Load([]string{file}, noEnv, config.Flags{})
		switch {
		case want == "" && (len(problems) > 0 || cfg.Telemetry.OTLPEndpoint != endpoint):
			t.Errorf("%q: %v, got %q", endpoint, problems, cfg.Telemetry.OTLPEndpoint)
		case want == "":
		case len(problems) != 1 || !strings.HasPrefix(problems[0].String(), file+":3,19: telemetry.otlp_endpoint: ") ||
			!strings.Contains(problems[0].String(), want) || strings.Contains(problems[0].String(), "secret"):
			t.Errorf("%q: %v, want %q at line 3", endpoint, problems, want)
		}
	}
}

func TestLoad_NothingInDevMode(t *testing.T) {
	got, problems := config.Load(nil, noEnv, config.Flags{Dev: true, Name: "one"})
	if len(problems) > 0 || !got.Dev || got.QueueProxyTask != nil || got.HTTP.Address != "127.0.0.1:4747" {
		t.Errorf("got %+v with problems %v", got, problems)
	}
}

func TestLoad_Precedence(t *testing.T) {
	file := sidecar + `
		name = "file"
		nomad {
		  address = "http://file:1"
		  token   = "file"
		}
		consul { address = "http://file:2" }`
	env := map[string]string{"NOMAD_ADDR": "https://env:1", "CONSUL_HTTP_ADDR": "env:2", "NOMAD_REGION": "eu"}
	for _, tt := range []struct {
		name  string
		env   map[string]string
		flags config.Flags
		want  [5]string // Name, Nomad's address, token and region, Consul's address.
	}{
		{"file", nil, config.Flags{}, [5]string{"file", "http://file:1", "file", "", "http://file:2"}},
		{"environment", env, config.Flags{}, [5]string{"file", "https://env:1", "file", "eu", "http://env:2"}},
		{"flag", env, config.Flags{Name: "flag", NomadAddress: "http://flag:1"},
			[5]string{"flag", "http://flag:1", "file", "eu", "http://env:2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := load(t, file, tt.env, tt.flags)
			got := [5]string{c.Name, c.Nomad.Address, c.Nomad.Token, c.Nomad.Region, c.Consul.Address}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoad_AuthNone(t *testing.T) {
	for _, text := range []string{
		`http { address = "0.0.0.0:4747" }`,
		"http {\n  address = \"[::1]:4747\"\n  auth = \"none\"\n}",
		"http {\n  address = \"localhost:0\"\n  auth = \"none\"\n}\nmetrics { address = \":0\" }",
	} {
		load(t, sidecar+text, nil, config.Flags{})
	}
}

func TestLoad_ConsulSSL(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want string
		skip bool
	}{
		{map[string]string{"CONSUL_HTTP_SSL": "true"}, "https://127.0.0.1:8500", false},
		{map[string]string{"CONSUL_HTTP_SSL": "true", "CONSUL_HTTP_ADDR": "c:1"}, "https://c:1", false},
		{map[string]string{"CONSUL_HTTP_SSL": "true", "CONSUL_HTTP_ADDR": "http://c:1"}, "http://c:1", false},
		{map[string]string{"CONSUL_HTTP_SSL": "false"}, "http://127.0.0.1:8500", false},
		{map[string]string{"CONSUL_HTTP_ADDR": "unix:///run/consul.sock"}, "unix:///run/consul.sock", false},
		{map[string]string{"CONSUL_HTTP_SSL_VERIFY": "false"}, "http://127.0.0.1:8500", true},
	} {
		c := load(t, sidecar, tt.env, config.Flags{}).Consul
		if c.Address != tt.want || c.TLS.SkipVerify != tt.skip {
			t.Errorf("%v: got %s, skip verify %v; want %s, %v", tt.env, c.Address, c.TLS.SkipVerify, tt.want, tt.skip)
		}
	}
}

func TestLoad_DirectoryInOrder(t *testing.T) {
	dir := write(t, map[string]string{
		"10-base.hcl":  sidecar + `gateway { domain = "base.example.com" }` + "\nlog_level = \"warn\"\nconsul { prefix = \"a/b\" }",
		"20-local.hcl": "log_level = \"debug\"\nlimits { max_spec_bytes = 2048 }",
		"30-more.hcl":  "queue_proxy {\n  driver = \"raw_exec\"\n}",
		"notes.txt":    "this is no HCL",
	})
	c, problems := config.Load([]string{dir}, noEnv, config.Flags{Name: "one"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if c.Gateway.Domain != "base.example.com" || c.LogLevel != "debug" || c.Consul.Prefix != "a/b/" ||
		c.Limits.MaxSpecBytes != 2048 || !strings.Contains(string(c.QueueProxyTask), "raw_exec") {
		t.Errorf("got %+v", c)
	}
}

// Each file under testdata is wrong; beside it stands what is said about it.
func TestLoad_Problems(t *testing.T) {
	files, err := filepath.Glob("testdata/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, problems := config.Load([]string{file}, noEnv, config.Flags{})
			var b strings.Builder
			for _, p := range problems {
				b.WriteString(strings.TrimPrefix(p.String(), "testdata/") + "\n")
			}
			golden := strings.TrimSuffix(file, ".hcl") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !jobspecs.HasErrors(problems) {
				t.Error("accepted")
			}
		})
	}
}

func TestLoad_ProblemsOutsideFiles(t *testing.T) {
	big := write(t, map[string]string{"big.hcl": strings.Repeat("# comment\n", 120_000)})
	for _, tt := range []struct {
		name  string
		paths []string
		env   map[string]string
		flags config.Flags
		want  string
	}{
		{"no such file", []string{"/nowhere/wadi.hcl"}, nil, config.Flags{}, "/nowhere/wadi.hcl: no such file or directory"},
		{"flag beside a directory", []string{"."}, nil, config.Flags{NomadAddress: "ftp://x"},
			`-nomad-address: "ftp://x" is not an address such as "http://nomad.example.com" or "unix:///run/nomad.sock"`},
		{"a password", nil, map[string]string{"NOMAD_ADDR": "https://me:secret@nomad.example.com"}, config.Flags{}, "NOMAD_ADDR: no user may stand in it; the agent's token is that of nomad { token }"},
		{"large", []string{big}, nil, config.Flags{}, big + "/big.hcl: larger than 1 MiB"},
		{"switch", nil, map[string]string{"CONSUL_HTTP_SSL": "maybe"}, config.Flags{}, `CONSUL_HTTP_SSL: "maybe" is neither true nor false`},
		{"file of a variable", nil, map[string]string{"NOMAD_CACERT": "/nowhere/ca.pem"}, config.Flags{}, `NOMAD_CACERT: there is no file "/nowhere/ca.pem"`},
		{"flag", nil, nil, config.Flags{HTTPAddress: "localhost"}, `-http-address: "localhost" is not an address to listen on, such as "127.0.0.1:4747"`},
		{"level", nil, nil, config.Flags{LogLevel: "loud"}, `-log-level: "loud" is not one of trace, debug, info, warn, error`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.flags.Dev = true
			_, problems := config.Load(tt.paths, envOf(tt.env), tt.flags)
			if len(problems) != 1 || problems[0].String() != tt.want {
				t.Errorf("got  %v\nwant [%s]", problems, tt.want)
			}
		})
	}
	if _, problems := config.Load(nil, noEnv, config.Flags{}); len(problems) != 1 || problems[0].Path != "queue_proxy" {
		t.Errorf("without a sidecar: got %v", problems)
	}
	if _, problems := config.Load([]string{t.TempDir()}, noEnv, config.Flags{Dev: true}); len(problems) != 1 {
		t.Errorf("empty directory: got %v", problems)
	}
}
