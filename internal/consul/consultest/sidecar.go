package consultest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/wadi-run/wadi/internal/freeport"
)

// StartSidecar runs the Envoy sidecar of a registered service until the test ends. envoy
// is the path of the program.
func (a *Agent) StartSidecar(envoy, service string) {
	a.tb.Helper()
	admin, err := freeport.Ports(1)
	if err != nil {
		a.tb.Fatal(err)
	}
	cmd := exec.CommandContext(a.tb.Context(), a.args[0], "connect", "envoy", "-sidecar-for", service, "-bootstrap",
		"-admin-bind", fmt.Sprintf("127.0.0.1:%d", admin[0]), "-ignore-envoy-compatibility",
		"-grpc-addr", fmt.Sprintf("http://127.0.0.1:%d", a.grpc), "-http-addr", a.URL)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(envoy)+":"+os.Getenv("PATH"))
	var log bytes.Buffer
	cmd.Stderr = &log
	bootstrap, err := cmd.Output()
	if err != nil {
		a.tb.Fatalf("bootstrap of %s's envoy: %v: %s", service, err, log.String())
	}
	file := filepath.Join(a.tb.TempDir(), "envoy.json")
	if err := os.WriteFile(file, bootstrap, 0o600); err != nil {
		a.tb.Fatal(err)
	}
	child := exec.Command(envoy, "-c", file, "--concurrency", "1", "--disable-hot-restart", "-l", "warning")
	child.Stdout, child.Stderr = &log, &log
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := child.Start(); err != nil {
		a.tb.Fatal(err)
	}
	a.tb.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
		if a.tb.Failed() {
			a.tb.Logf("envoy: %.4000s", log.String())
		}
	})
}
