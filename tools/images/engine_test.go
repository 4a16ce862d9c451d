//go:build e2e

package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/wadi-run/wadi/test/harness/containers"
)

// What is built runs in a real engine, as nobody and on a file system that it can't write,
// and is pushed with the credentials of Docker's configuration.
func TestRelease_Runs(t *testing.T) {
	e, err := containers.StartEngine(t.Context())
	if errors.Is(err, containers.ErrNoEngine) {
		t.Skipf("no images are run: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	r, err := containers.StartRegistry(containers.RegistryOptions{Username: "ci", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	docker := t.TempDir()
	login := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, r.Address(), base64.StdEncoding.EncodeToString([]byte("ci:secret")))
	if err := os.WriteFile(filepath.Join(docker, "config.json"), []byte(login), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", docker)
	t.Setenv("DOCKER_HOST", e.Endpoint())
	o := made(t, "-root", "../..", "-load", "-push", r.Address()+"/wadi", "-images", "wadi,queue-proxy,hello", "-platforms", "linux/"+runtime.GOARCH)
	if err := o.release(t.Context(), io.Discard); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := e.Docker(t.Context(), append([]string{"run", "--rm", "--read-only", "--network", "none", "--cap-drop", "ALL"}, args...)...)
		if err != nil {
			out += err.Error()
		}
		return out
	}
	if got := run("wadi/wadi:0.1.0", "version"); !strings.Contains(got, "0.1.0") {
		t.Errorf("wadi says %q", got)
	}
	if got := run("wadi/queue-proxy:0.1.0", "-version"); got != "queue-proxy 0.1.0\n" {
		t.Errorf("queue-proxy says %q", got)
	}
	if got := run("--env", "FAIL_START=1", "wadi/hello:0.1.0"); !strings.Contains(got, "FAIL_START is set") {
		t.Errorf("hello says %q", got)
	}
	// The authorities are there: what fails is the network.
	if got := run("wadi/wadi:0.1.0", "service", "list", "-address", "https://127.0.0.1:1"); !strings.Contains(got, "connection refused") {
		t.Errorf("wadi says %q", got)
	}
	for _, image := range o.images {
		user, err := e.Docker(t.Context(), "image", "inspect", "--format", "{{.Config.User}} {{.Architecture}} {{index .Config.Labels \"org.opencontainers.image.version\"}}", "wadi/"+image+":0.1.0")
		if want := "65532:65532 " + runtime.GOARCH + " 0.1.0\n"; err != nil || user != want {
			t.Errorf("%s: %q, want %q: %v", image, user, want, err)
		}
	}
	ref, err := name.NewTag(r.Address() + "/wadi/queue-proxy:0.1.0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Index(ref); err == nil {
		t.Error("the registry asks for no credentials")
	}
	if _, err := remote.Index(ref, remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		t.Errorf("pushed: %v", err)
	}
}
