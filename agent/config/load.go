package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// Load reads the files, and the *.hcl files of the directories, in order; later settings
// override earlier ones. The environment (env, such as os.Getenv) overrides files, and flags
// override all.
//
// The configuration may be used if all problems are warnings.
func Load(paths []string, env func(string) string, flags Flags) (Config, []wadi.Problem) {
	l := &loader{cfg: Default(), from: map[string]place{}}
	l.cfg.Dev = flags.Dev
	for _, file := range l.files(paths) {
		l.file(file)
	}
	l.environment(env)
	l.flags(flags)
	l.tokenFile("nomad.token_file", l.cfg.Nomad.TokenFile, &l.cfg.Nomad.Token)
	l.tokenFile("consul.token_file", l.cfg.Consul.TokenFile, &l.cfg.Consul.Token)
	l.check()
	l.sort()
	return l.cfg, l.problems
}

// loader collects settings, their sources and the problems.
type loader struct {
	cfg        Config
	from       map[string]place // By path of the setting.
	order      []string         // Files as they were read.
	problems   []wadi.Problem
	unreadable bool // A file could not be read: missing settings may be in it.

	constants jobspecs.Constants

	// Blocks that are evaluated after all files are read: the last of each counts.
	defaults, queueProxy, sidecar *hcl.Block
}

// place is the source of a setting: a range of a file, or a name such as an environment
// variable's.
type place struct {
	rng  hcl.Range
	name string
}

// files expands directories.
func (l *loader) files(paths []string) []string {
	var out []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			l.fileProblem(p, err)
			continue
		}
		if !info.IsDir() {
			out = append(out, p)
			continue
		}
		found, err := os.ReadDir(p)
		if err != nil {
			l.fileProblem(p, err)
			continue
		}
		n := len(out)
		for _, e := range found { // Sorted by name.
			if !e.IsDir() && strings.HasSuffix(e.Name(), ".hcl") {
				out = append(out, filepath.Join(p, e.Name()))
			}
		}
		if len(out) == n {
			l.problems = append(l.problems, wadi.Problem{File: p, Message: "no *.hcl file in this directory"})
		}
	}
	return out
}

func (l *loader) fileProblem(file string, err error) {
	l.unreadable = true
	l.problems = append(l.problems, wadi.Problem{File: file, Message: reason(err)})
}

// reason is an error of a file without the file's path, which the problem has.
func reason(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// file reads one file into the configuration.
func (l *loader) file(name string) {
	l.order = append(l.order, name)
	src, err := readFile(name)
	if err != nil {
		l.fileProblem(name, err)
		return
	}
	body, diags := l.constants.Body(jobspecs.File{Name: name, Source: src})
	l.diagnostics(diags, "")
	if diags.HasErrors() {
		l.unreadable = true
		return // Problems after a syntax error would be guesses.
	}
	l.body(body, "", l.top())
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(src) > maxFile {
		err = errors.New("larger than 1 MiB")
	}
	return src, err
}

// environment reads the variables of the Nomad and Consul command lines.
func (l *loader) environment(env func(string) string) {
	c := &l.cfg
	for _, v := range []struct {
		name, path string
		dst        any
	}{
		{"NOMAD_ADDR", "nomad.address", address{&c.Nomad.Address}},
		{"NOMAD_REGION", "nomad.region", &c.Nomad.Region},
		{"NOMAD_TOKEN", "nomad.token", &c.Nomad.Token},
		{"CONSUL_HTTP_TOKEN_FILE", "consul.token_file", &c.Consul.TokenFile},
		{"NOMAD_CACERT", "nomad.ca_file", &c.Nomad.TLS.CAFile},
		{"NOMAD_CLIENT_CERT", "nomad.cert_file", &c.Nomad.TLS.CertFile},
		{"NOMAD_CLIENT_KEY", "nomad.key_file", &c.Nomad.TLS.KeyFile},
		{"NOMAD_SKIP_VERIFY", "nomad.skip_verify", &c.Nomad.TLS.SkipVerify},
		{"CONSUL_HTTP_ADDR", "consul.address", address{&c.Consul.Address}},
		{"CONSUL_HTTP_TOKEN", "consul.token", &c.Consul.Token},
		{"CONSUL_CACERT", "consul.ca_file", &c.Consul.TLS.CAFile},
		{"CONSUL_CLIENT_CERT", "consul.cert_file", &c.Consul.TLS.CertFile},
		{"CONSUL_CLIENT_KEY", "consul.key_file", &c.Consul.TLS.KeyFile},
	} {
		if s := env(v.name); s != "" {
			l.set(v.path, place{name: v.name}, cty.StringVal(s), v.dst)
		}
	}
	l.consulSSL(env)
}

// consulSSL reads the two variables that change the scheme and the verification of Consul's
// address.
func (l *loader) consulSSL(env func(string) string) {
	var ssl, verify bool
	if s := env("CONSUL_HTTP_SSL"); s != "" {
		l.set("CONSUL_HTTP_SSL", place{name: "CONSUL_HTTP_SSL"}, cty.StringVal(s), &ssl)
	}
	rest, plain := strings.CutPrefix(l.cfg.Consul.Address, "http://")
	if ssl && plain && !strings.HasPrefix(env("CONSUL_HTTP_ADDR"), "http://") {
		l.cfg.Consul.Address = "https://" + rest
	}
	if s := env("CONSUL_HTTP_SSL_VERIFY"); s != "" {
		l.set("CONSUL_HTTP_SSL_VERIFY", place{name: "CONSUL_HTTP_SSL_VERIFY"}, cty.StringVal(s), &verify)
		l.cfg.Consul.TLS.SkipVerify = !verify
	}
}

// flags overrides settings with the command line.
func (l *loader) flags(f Flags) {
	c := &l.cfg
	for _, v := range []struct {
		name, path, value string
		dst               any
	}{
		{"-name", "name", f.Name, &c.Name},
		{"-log-level", "log_level", f.LogLevel, &c.LogLevel},
		{"-http-address", "http.address", f.HTTPAddress, &c.HTTP.Address},
		{"-gateway-address", "gateway.address", f.GatewayAddress, &c.Gateway.Address},
		{"-metrics-address", "metrics.address", f.MetricsAddress, &c.Metrics.Address},
		{"-activator-address", "activator.address", f.ActivatorAddress, &c.Activator.Address},
		{"-nomad-address", "nomad.address", f.NomadAddress, address{&c.Nomad.Address}},
		{"-consul-address", "consul.address", f.ConsulAddress, address{&c.Consul.Address}},
	} {
		if v.value != "" {
			l.set(v.path, place{name: v.name}, cty.StringVal(v.value), v.dst)
		}
	}
}

// sort puts the problems in the order of the files and their lines; those
// without a file come last.
func (l *loader) sort() {
	rank := func(p wadi.Problem) int {
		if p.File == "" {
			return len(l.order) + 1
		}
		return slices.Index(l.order, p.File) // -1: the file was not found.
	}
	slices.SortStableFunc(l.problems, func(a, b wadi.Problem) int {
		for _, d := range []int{rank(a) - rank(b), a.Line - b.Line, a.Column - b.Column} {
			if d != 0 {
				return d
			}
		}
		return strings.Compare(a.Message, b.Message)
	})
}
