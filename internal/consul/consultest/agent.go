package consultest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/freeport"
)

// Agent is a real Consul in dev mode, on its own ports.
type Agent struct {
	URL string

	grpc  int // The port of xDS.
	tb    testing.TB
	args  []string
	log   string
	child *exec.Cmd
}

// StartAgent starts Consul and waits until it has a leader. It ends with the test. With
// memory it keeps its data over a Restart. hcl is additional configuration. If Consul
// can't be found the test fails: a skipped test would look like a passed one.
func StartAgent(tb testing.TB, memory bool, hcl ...string) *Agent {
	tb.Helper()
	bin, err := binary()
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	ports, err := freeport.Ports(6)
	if err != nil {
		tb.Fatal(err)
	}
	a := &Agent{
		URL:  fmt.Sprintf("http://127.0.0.1:%d", ports[0]),
		grpc: ports[4],
		tb:   tb,
		log:  filepath.Join(dir, "consul.log"),
		args: []string{bin, "agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1", "-log-level=warn",
			fmt.Sprintf("-http-port=%d", ports[0]), fmt.Sprintf("-server-port=%d", ports[1]),
			fmt.Sprintf("-serf-lan-port=%d", ports[2]), fmt.Sprintf("-serf-wan-port=%d", ports[3]),
			fmt.Sprintf("-grpc-port=%d", ports[4]), fmt.Sprintf("-grpc-tls-port=%d", ports[5]), "-dns-port=-1"},
	}
	if memory {
		a.args = slices.DeleteFunc(a.args, func(s string) bool { return s == "-dev" })
		a.args = append(a.args, "-server", "-bootstrap-expect=1", "-data-dir="+filepath.Join(dir, "data"))
	}
	for _, h := range hcl {
		a.args = append(a.args, "-hcl", h)
	}
	tb.Cleanup(a.Kill)
	a.Restart()
	return a
}

// Restart kills Consul, if it runs, and starts it again.
func (a *Agent) Restart() {
	a.tb.Helper()
	a.Kill()
	out, err := os.OpenFile(a.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		a.tb.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(a.args[0], a.args[1:]...)
	cmd.Env = []string{"HOME=" + filepath.Dir(a.log), "PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		a.tb.Fatal(err)
	}
	a.child = cmd
	a.waitLeader()
}

// Kill ends Consul at once.
func (a *Agent) Kill() {
	if a.child == nil {
		return
	}
	_ = a.child.Process.Kill()
	_ = a.child.Wait()
	a.child = nil
}

// waitLeader returns when Consul accepts writes, or refuses them for want of rights.
func (a *Agent) waitLeader() {
	a.tb.Helper()
	ctx, cancel := context.WithTimeout(a.tb.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !a.takesWrites(ctx) {
		select {
		case <-ctx.Done():
			text, _ := os.ReadFile(a.log)
			a.tb.Fatalf("consul has no leader after a minute:\n%s", text)
		case <-tick.C:
		}
	}
}

func (a *Agent) takesWrites(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, a.URL+"/v1/kv/consultest", strings.NewReader("x"))
	if err != nil {
		return false
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusForbidden
}

// binary finds Consul on PATH, or in the cache where Wadi builds its tools.
func binary() (string, error) {
	if p, err := exec.LookPath("consul"); err == nil {
		return p, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find consul: %w", err)
	}
	found, _ := filepath.Glob(filepath.Join(cache, "wadi", "tools", "consul-*", "consul"))
	if len(found) == 0 {
		return "", fmt.Errorf("find consul: neither on PATH nor under %s/wadi/tools; `make tools` builds it", cache)
	}
	slices.Sort(found)
	return found[len(found)-1], nil
}
