package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/agent/config"
)

// Two loads of one file don't differ, defaults of services and tasks included, and what
// differs is named by its path.
func TestChanges(t *testing.T) {
	text, err := os.ReadFile("example.hcl")
	if err != nil {
		t.Fatal(err)
	}
	example := string(text)
	a := load(t, example, nil, config.Flags{})
	if got := config.Changes(a, load(t, example, nil, config.Flags{})); len(got) > 0 {
		t.Errorf("the same twice: %v differ", got)
	}
	b := load(t, strings.NewReplacer(`max_wakes         = 20`, `max_wakes = 30`, `window = "90s"`, `window = "80s"`,
		`queue-proxy:0.1`, `queue-proxy:0.2`, `"127.0.0.1:4747"`, `"127.0.0.1:4700"`, `"10.0.0.0/8"`, `"10.0.0.0/9"`,
		`max_spec_bytes      = "1MiB"`, `max_spec_bytes = "2MiB"`).Replace(example), nil, config.Flags{})
	want := []config.Change{
		{"activator.max_wakes", true}, {"defaults", true}, {"gateway.trusted_proxies", true}, {"http.address", false},
		{"limits.max_spec_bytes", true}, {"queue_proxy", true},
	}
	if diff := cmp.Diff(want, config.Changes(a, b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// A reload takes over what is live, and leaves the rest, and both of what it was given.
	c := a.Reload(b)
	if diff := cmp.Diff([]config.Change{{"http.address", false}}, config.Changes(c, b)); diff != "" {
		t.Errorf("after a reload (-want +got):\n%s", diff)
	}
	if a.Activator.MaxWakes != 20 || b.HTTP.Address != "127.0.0.1:4700" || c.HTTP.Address != "127.0.0.1:4747" {
		t.Errorf("max_wakes of the old one %d, addresses %s and %s", a.Activator.MaxWakes, b.HTTP.Address, c.HTTP.Address)
	}
}

// Files of the API's certificate change with a reload, but a listener does not begin or
// cease to speak TLS.
func TestChanges_TLSOnAndOff(t *testing.T) {
	with := func(cert string) config.Config {
		c := config.Default()
		c.HTTP.TLS.CertFile = cert
		return c
	}
	for _, tt := range []struct {
		from, to string
		live     bool
	}{{"a", "b", true}, {"", "b", false}, {"a", "", false}} {
		a, b := with(tt.from), with(tt.to)
		want := []config.Change{{"http.tls.cert_file", tt.live}}
		if diff := cmp.Diff(want, config.Changes(a, b)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt, diff)
		}
		if got := a.Reload(b).HTTP.TLS.CertFile; got == tt.to != tt.live {
			t.Errorf("%+v: in force is %q", tt, got)
		}
	}
}

// Each field of the configuration belongs to a setting: a field that does not would never
// be noticed by a reload.
func TestSettings_CoverEveryField(t *testing.T) {
	all := config.Settings()
	if !slices.IsSortedFunc(all, func(a, b config.Setting) int { return strings.Compare(a.Path, b.Path) }) {
		t.Errorf("not sorted: %v", all)
	}
	var fields []string
	var walk func(v reflect.Value, path string)
	base := config.Default()
	walk = func(v reflect.Value, path string) {
		if v.Kind() == reflect.Struct && v.Type() != reflect.TypeOf(base.Defaults) {
			for i := range v.NumField() {
				walk(v.Field(i), path+"."+v.Type().Field(i).Name)
			}
			return
		}
		changed := base
		set := reflect.ValueOf(&changed).Elem()
		for _, name := range strings.Split(strings.TrimPrefix(path, "."), ".") {
			set = set.FieldByName(name)
		}
		if v.Type() == reflect.TypeOf(base.Defaults) {
			changed.Defaults = load(t, sidecar+`defaults { priority = 70 }`, nil, config.Flags{}).Defaults
		} else {
			other(set)
		}
		if len(config.Changes(base, changed)) != 1 {
			fields = append(fields, path)
		}
	}
	walk(reflect.ValueOf(base), "")
	// By flag, by environment.
	if diff := cmp.Diff([]string{".Dev", ".Nomad.TLS.SkipVerify", ".Consul.TLS.SkipVerify"}, fields); diff != "" {
		t.Errorf("fields without a setting (-want +got):\n%s", diff)
	}
}

// other gives a field another value.
func other(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Slice:
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	default:
		panic(v.Kind())
	}
}

// The token of a file beats the others, and a bad file is a mistake with its place.
func TestLoad_TokenFile(t *testing.T) {
	dir := write(t, map[string]string{
		"good": "from-file\n", "empty": " \n", "two": "a b", "large": strings.Repeat("x", 17<<10), "binary": "a\x00b",
	})
	text := func(file string) string {
		return sidecar + "nomad {\n  token = \"t\"\n  token_file = \"" + file + "\"\n}\n"
	}
	good := filepath.Join(dir, "good")
	c := load(t, text(good), map[string]string{"NOMAD_TOKEN": "env", "CONSUL_HTTP_TOKEN": "env", "CONSUL_HTTP_TOKEN_FILE": good}, config.Flags{})
	if c.Nomad.Token != "from-file" || c.Consul.Token != "from-file" {
		t.Errorf("tokens %q and %q, want those of the file", c.Nomad.Token, c.Consul.Token)
	}
	for file, want := range map[string]string{
		filepath.Join(dir, "none"): "there is no file", dir: "is no file", filepath.Join(dir, "empty"): "is empty",
		filepath.Join(dir, "two"): "holds more than a token", filepath.Join(dir, "large"): "is larger than 16 KiB", filepath.Join(dir, "binary"): "holds more than a token",
		"/dev/zero": "is no file",
	} {
		path := filepath.Join(write(t, map[string]string{"wadi.hcl": text(file)}), "wadi.hcl")
		_, problems := config.Load([]string{path}, noEnv, config.Flags{})
		if len(problems) != 1 || !strings.HasPrefix(problems[0].String(), path+":4,16: nomad.token_file: ") || !strings.Contains(problems[0].Message, want) {
			t.Errorf("%s: %v, want %q", file, problems, want)
		}
	}
}
