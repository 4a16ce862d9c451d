//go:build e2e

// Package operations_test does what docs/operations.md says, word for word, on a real Nomad
// and a real Consul with ACLs: it runs Wadi as a Nomad job from an archive as a release has it.
package operations_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/internal/devcluster"
	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/internal/toolchain"
	"github.com/wadi-run/wadi/test/harness"
)

const (
	version = "0.1.0"
	next    = "0.1.1" // The one after it.
)

// cluster is a cluster without Wadi, and a place to get its release from.
type cluster struct {
	*devcluster.Cluster
	tools    toolchain.Paths
	root     string // Of the checkout.
	releases *httptest.Server
	nomad    *nomad.Client
	consul   *consul.Client
	bin      string // The folder of programs on its node.
	api      string // URL of the API of the agent on its node.
	gateway  string
	ports    []int // Of api, metrics, activator and gateway.
}

func start(t *testing.T) *cluster {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("skipped: the page fetches the archive for amd64")
	}
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	tools, missing := toolchain.Locate(t.Context())
	if !tools.Mesh() {
		t.Skipf("skipped: the page needs a mesh: %v (make tools)", missing)
	}
	c := &cluster{root: root, tools: tools, bin: filepath.Join(t.TempDir(), "opt/bin")}
	built := make(chan error, 1)
	dir := t.TempDir()
	go func() { built <- c.release(t.Context(), dir) }() // Beside the start of the cluster.
	c.Cluster, err = devcluster.Start(t.Context(), devcluster.Config{
		Tools: tools, Path: []string{filepath.Join(root, "bin")}, ACLs: true, NomadClientAgent: true, ConsulClientAgent: true, MaxKillTimeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := <-built; err != nil {
		t.Fatal(err)
	}
	c.releases = httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(c.releases.Close)
	if !c.Mesh {
		t.Skipf("skipped: the page needs a mesh: %s", c.WhyNot)
	}
	c.connect(t)
	return c
}

// connect makes the clients, and chooses ports for the agent.
func (c *cluster) connect(t *testing.T) {
	t.Helper()
	var err error
	if c.nomad, err = c.NomadClient(); err != nil {
		t.Fatal(err)
	}
	if c.consul, err = c.ConsulClient(); err != nil {
		t.Fatal(err)
	}
	if c.ports, err = freeport.Ports(4); err != nil {
		t.Fatal(err)
	}
	c.api, c.gateway = fmt.Sprintf("http://127.0.0.1:%d", c.ports[0]), fmt.Sprintf("http://127.0.0.1:%d", c.ports[3])
}

// release builds two releases into a folder.
func (c *cluster) release(ctx context.Context, dir string) error {
	for _, v := range []string{version, next} {
		cmd := exec.CommandContext(ctx, "go", "run", "./tools/dist", "-version", v, "-epoch", "1700000000", "-platforms", "linux/amd64", "-out", dir)
		cmd.Dir = c.root
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build release %s: %w\n%s", v, err, out)
		}
	}
	return nil
}

// env is what an operator has set before reading the page: where the cluster is, and that
// Wadi's ports here are others.
func (c *cluster) env(home string) []string {
	path := append(c.tools.Dirs(), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
	return []string{
		"HOME=" + home, "PATH=" + strings.Join(path, ":"), "TMPDIR=" + home,
		"NOMAD_ADDR=" + c.NomadAddr, "NOMAD_TOKEN=" + devcluster.Management,
		"CONSUL_HTTP_ADDR=" + c.ConsulAddr, "CONSUL_HTTP_TOKEN=" + devcluster.Management,
		"VERSION=" + version, "RELEASES=" + c.releases.URL, "NEXT_VERSION=" + next, "NEXT_RELEASES=" + c.releases.URL,
		"WADI_ADDR=" + c.api, "GATEWAY=" + c.gateway,
		"NOMAD_VAR_bin=" + c.bin, "NOMAD_VAR_consul_address=" + c.ConsulAddr,
		fmt.Sprintf("NOMAD_VAR_api_port=%d", c.ports[0]), fmt.Sprintf("NOMAD_VAR_metrics_port=%d", c.ports[1]),
		fmt.Sprintf("NOMAD_VAR_activator_port=%d", c.ports[2]), fmt.Sprintf("NOMAD_VAR_gateway_port=%d", c.ports[3]),
	}
}

// nothingLeft says what of Wadi is still there.
func (c *cluster) nothingLeft(ctx context.Context) error {
	q := (&consul.QueryOptions{}).WithContext(ctx)
	jobs, _, err := c.nomad.Jobs().List((&nomad.QueryOptions{Namespace: "*"}).WithContext(ctx))
	if err != nil {
		return err
	}
	var left []string
	for _, j := range jobs {
		left = append(left, "job "+j.ID)
	}
	keys, _, err := c.consul.KV().Keys("", "", q)
	if err != nil {
		return err
	}
	left = append(left, keys...)
	services, _, err := c.consul.Catalog().Services(q)
	if err != nil {
		return err
	}
	for name := range services {
		if strings.HasPrefix(name, "wadi") || name == "files" || name == "meshed" {
			left = append(left, "service "+name)
		}
	}
	for _, kind := range []string{"service-defaults", "service-resolver", "service-splitter", "service-router", "service-intentions"} {
		entries, _, err := c.consul.ConfigEntries().List(kind, q)
		if err != nil {
			return err
		}
		for _, e := range entries {
			left = append(left, kind+" "+e.GetName())
		}
	}
	if _, err := os.Stat(c.bin); err == nil {
		left = append(left, c.bin)
	}
	if len(left) > 0 {
		return fmt.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	return nil
}
