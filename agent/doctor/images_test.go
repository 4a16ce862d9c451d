package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
)

func TestCheckDockerConfig(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-here"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "docker.json")
	for text, want := range map[string][]string{
		`{"auths": {}}`:          {"ok: it can be read, and its helpers are there"},
		`{"credsStore": "here"}`: {"ok: it can be read, and its helpers are there"},
		`{"credsStore": "gone", "credHelpers": {"a": "here", "b": "too"}}`: {"fail: it names programs that are not on the agent's PATH: docker-credential-gone, docker-credential-too"},
		`{"auths": {"r": {"auth": "s3cret"}}}`:                             {"fail: it can't be used: " + path + `: auths, "r": its auth is not the base64 of username:password`},
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d := &Doctor{DockerConfig: func() string { return path }}
		if got := lines(d.checkDockerConfig()); got != strings.Join(want, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", text, got, want)
		}
	}
	if err := os.WriteFile(path, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := lines((&Doctor{DockerConfig: func() string { return path }}).checkDockerConfig()); got != "warn: every user of the machine may read the credentials of registries" {
		t.Errorf("a file for all: %s", got)
	}
	for _, d := range []*Doctor{{}, {DockerConfig: func() string { return "" }}} {
		if got := d.checkDockerConfig(); got != nil {
			t.Errorf("without a file: %v", got)
		}
	}
}

// lines is a line for each finding.
func lines(all []wadi.Finding) string {
	var out []string
	for _, f := range all {
		out = append(out, string(f.Level)+": "+f.What)
	}
	return strings.Join(out, "\n")
}
