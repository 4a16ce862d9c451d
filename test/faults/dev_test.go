//go:build e2e

package faults_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// dev is a running "wadi agent -dev" with its own cluster.
type dev struct {
	cmd     *exec.Cmd
	tmp     string // Its TMPDIR.
	gateway string
	output  string // File.
	done    chan struct{}

	cluster string // The cluster's folder.
	mark    string // An environment variable of all processes of the cluster.
}

// startDev starts it on its own ports, with a service, and waits until that is ready.
func startDev(t *testing.T) *dev {
	t.Helper()
	a := freeAddrs(t, 4)
	return startDevAt(t, "-gateway-address", a[0], "-http-address", a[1], "-metrics-address", a[2], "-activator-address", a[3])
}

// startDevAt starts it with flags.
func startDevAt(t *testing.T, flags ...string) *dev {
	t.Helper()
	dir, addrs := t.TempDir(), freeAddrs(t, 2)
	d := &dev{tmp: filepath.Join(dir, "tmp"), output: filepath.Join(dir, "output"), done: make(chan struct{})}
	harnesstest.Must(t, "make a folder", os.Mkdir(d.tmp, 0o777))
	service := filepath.Join(dir, "devhello.hcl")
	harnesstest.Must(t, "write file", os.WriteFile(service, []byte(harnesstest.Hello("devhello", `window = "1h"`, "")), 0o600))
	out, err := os.Create(d.output)
	harnesstest.Must(t, "make the output", err)
	defer out.Close()
	d.cmd = exec.Command(filepath.Join(stack.Bin, "wadi"), append([]string{"agent", "-dev", "-apply", service}, flags...)...)
	d.cmd.Stdout, d.cmd.Stderr = out, out
	// Nothing listens there, so it starts its own cluster.
	d.cmd.Env = append(os.Environ(), "TMPDIR="+d.tmp, "DOCKER_HOST=unix:///nowhere/d.sock", "NOMAD_ADDR=http://"+addrs[0], "CONSUL_HTTP_ADDR="+addrs[1])
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	harnesstest.Must(t, "start", d.cmd.Start())
	go func() {
		_ = d.cmd.Wait()
		close(d.done)
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Signal(syscall.SIGINT)
		<-d.done
	})
	d.waitUp(t)
	return d
}

func (d *dev) waitUp(t *testing.T) {
	t.Helper()
	eventually(t, harnesstest.WaitLong, func() error {
		select {
		case <-d.done:
			return harness.Final(fmt.Errorf("it ended with %d:\n%s", d.cmd.ProcessState.ExitCode(), d.text()))
		default:
		}
		if !strings.Contains(d.text(), "Call it:") {
			return fmt.Errorf("it does not say what to call yet:\n%s", d.text())
		}
		return nil
	})
	_, at, _ := strings.Cut(d.text(), "gateway http://")
	d.gateway, _, _ = strings.Cut(at, "\n")
	const marker = "DEVCLUSTER_DIR="
	for pid, env := range environments(t) {
		if parentOf(pid) != fmt.Sprint(d.cmd.Process.Pid) {
			continue
		}
		for _, kv := range env {
			if value, ok := strings.CutPrefix(kv, marker); ok {
				d.mark, d.cluster = kv, value[:strings.LastIndex(value, ":")]
			}
		}
	}
	if d.cluster == "" {
		t.Fatal("got no child with a cluster's mark")
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.gateway+"/", nil)
	harnesstest.Must(t, "make a request", err)
	req.Host = "devhello." + harness.Domain
	res, err := harness.Do(http.DefaultClient, req)
	if err != nil || res.Status != http.StatusOK {
		t.Fatalf("got status %d, error %v; want an answer:\n%s", res.Status, err, d.text())
	}
}

func (d *dev) text() string {
	b, err := os.ReadFile(d.output)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// processes are the running processes of the cluster.
func (d *dev) processes(t *testing.T) []string {
	var found []string
	for pid, env := range environments(t) {
		for _, kv := range env {
			if kv == d.mark {
				cmdline, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
				found = append(found, pid+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
			}
		}
	}
	return found
}

// left returns an error that lists what remains of the cluster.
func (d *dev) left(t *testing.T) error {
	var errs []error
	if found := d.processes(t); len(found) > 0 {
		errs = append(errs, fmt.Errorf("processes: %s", strings.Join(found, ", ")))
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	errs = append(errs, err)
	if bytes.Contains(mounts, []byte(d.cluster+"/")) {
		errs = append(errs, fmt.Errorf("a mount below %s", d.cluster))
	}
	if _, err := os.Stat(d.cluster); err == nil {
		errs = append(errs, fmt.Errorf("the folder %s", d.cluster))
	}
	bridge := "wadi-dev" + filepath.Base(d.cluster)
	if _, err := net.InterfaceByName(bridge); err == nil {
		errs = append(errs, fmt.Errorf("the interface %s", bridge))
	}
	files, err := os.ReadDir(d.tmp)
	errs = append(errs, err)
	if len(files) > 0 {
		errs = append(errs, fmt.Errorf("temporary files: %v", names(files)))
	}
	return errors.Join(errs...)
}

func freeAddrs(t *testing.T, n int) []string {
	t.Helper()
	ports, err := freeport.Ports(n)
	harnesstest.Must(t, "choose a port", err)
	var addrs []string
	for _, p := range ports {
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", p))
	}
	return addrs
}

// environments returns the environment of every process, by PID.
func environments(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	harnesstest.Must(t, "list processes", err)
	out := map[string][]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil { // Else it has ended.
			out[strings.Split(f, "/")[2]] = strings.Split(string(b), "\x00")
		}
	}
	return out
}

func parentOf(pid string) string {
	b, _ := os.ReadFile(filepath.Join("/proc", pid, "status"))
	for line := range strings.Lines(string(b)) {
		if p, ok := strings.CutPrefix(line, "PPid:"); ok {
			return strings.TrimSpace(p)
		}
	}
	return ""
}

// Ctrl-C ends "wadi agent -dev" and all that it started, and leaves nothing behind.
func TestDev_CtrlC(t *testing.T) {
	d := startDev(t)
	if n := len(d.processes(t)); n < 4 {
		t.Errorf("got %d processes of the cluster, want Consul, Nomad, the queue-proxy and the app at least", n)
	}
	harnesstest.Must(t, "press Ctrl-C", d.cmd.Process.Signal(syscall.SIGINT))
	select {
	case <-d.done:
	case <-time.After(harnesstest.WaitLong):
		t.Fatalf("it does not end:\n%s", d.text())
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 || !strings.Contains(d.text(), "nothing is left behind") {
		t.Errorf("got exit code %d, want 0 and that nothing is left:\n%s", code, d.text())
	}
	if err := d.left(t); err != nil {
		t.Errorf("got left behind, want nothing:\n%v", err)
	}
}

// When "wadi agent -dev" is killed its children end too, including tasks; the next start
// removes leftover files.
func TestDev_Killed(t *testing.T) {
	d := startDev(t)
	harnesstest.Must(t, "kill it", d.cmd.Process.Kill())
	<-d.done
	eventually(t, harnesstest.WaitLong, func() error {
		if found := d.processes(t); len(found) > 0 {
			return fmt.Errorf("there are processes yet: %s", strings.Join(found, ", "))
		}
		return nil
	})
	next := startDev(t)
	harnesstest.Must(t, "press Ctrl-C", next.cmd.Process.Signal(syscall.SIGINT))
	<-next.done
	if err := next.left(t); err != nil {
		t.Errorf("got left behind, want nothing:\n%v", err)
	}
	if next.cluster != d.cluster {
		if _, err := os.Stat(d.cluster); err == nil {
			t.Errorf("got the folder %s of the one that was killed, want it removed", d.cluster)
		}
	}
}

// If the default ports are in use, a second "wadi agent -dev" takes free ones, and prints
// them.
func TestDev_BesideAnother(t *testing.T) {
	var want []string
	for what, addr := range map[string]string{
		"API": "127.0.0.1:4747", "metrics": "127.0.0.1:4748", "gateway": "127.0.0.1:8080",
		"mesh listener": net.JoinHostPort(stack.Cluster.HostIP, "4749"),
	} {
		_, port, _ := net.SplitHostPort(addr)
		want = append(want, fmt.Sprintf("Port %s is in use: the %s is at ", port, what))
		if l, err := net.Listen("tcp", addr); err == nil { // Else another process has it.
			defer l.Close()
		}
	}
	d := startDevAt(t)
	for _, w := range append(want, "service status -address http://", "No services with the driver docker: unix:///nowhere/d.sock: no engine answers.\n") {
		if !strings.Contains(d.text(), w) {
			t.Errorf("got no word of %q:\n%s", w, d.text())
		}
	}
}

// If a requested address is in use, the command fails before anything is started.
func TestDev_AddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	harnesstest.Must(t, "listen", err)
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), harnesstest.WaitLong)
	defer cancel()
	for _, flag := range []string{"-http-address", "-metrics-address", "-gateway-address", "-activator-address"} {
		cmd := exec.CommandContext(ctx, filepath.Join(stack.Bin, "wadi"), "agent", "-dev", flag, l.Addr().String())
		out, _ := cmd.CombinedOutput() // The exit code is checked below.
		if text := string(out); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(text, flag) ||
			!strings.Contains(text, "address already in use") || strings.Contains(text, "Starting") {
			t.Errorf("got exit code %d, want 1, the flag %s and nothing started:\n%s", cmd.ProcessState.ExitCode(), flag, text)
		}
	}
}
