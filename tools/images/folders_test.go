//go:build e2e

package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// Real programs, built in two folders by two builders with other settings, make the same
// images for each platform.
func TestRelease_SameDigestInAnotherFolder(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	list := exec.Command("git", "ls-files", "-z", "*.go", "go.mod", "go.sum", "*.hcl", "*.json", "*.tmpl", "*.txt", "LICENSE")
	list.Dir = root
	files, err := list.Output()
	if err != nil {
		t.Skipf("no checkout to copy: %v", err)
	}
	for _, f := range strings.Split(strings.Trim(string(files), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(root, f))
		if errors.Is(err, os.ErrNotExist) {
			continue // Deleted, and not committed.
		}
		to := filepath.Join(other, f)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, content, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	var digests []string
	for _, folder := range []string{root, other} {
		o := made(t, "-root", folder, "-images", "queue-proxy")
		if err := o.release(t.Context(), io.Discard); err != nil {
			t.Fatal(err)
		}
		index, err := layout.ImageIndexFromPath(filepath.Join(o.out, "image_queue-proxy_0.1.0.oci"))
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digest(t, index))
		settings := filepath.Join(t.TempDir(), "env") // As "go env -w" writes them.
		if err := os.WriteFile(settings, []byte("GOFLAGS=-gcflags=all=-N\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("GOENV", settings)
		t.Setenv("GOFLAGS", "-tags=other")
		t.Setenv("GOAMD64", "v3")
		t.Setenv("GOFIPS140", "latest")
		t.Setenv("GOWORK", filepath.Join(t.TempDir(), "go.work"))
	}
	if digests[0] != digests[1] {
		t.Errorf("digests %q differ", digests)
	}
}
