package main_test

import (
	"bufio"
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// binary builds the command.
func binary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "queue-proxy")
	build := exec.Command("go", "build", "-ldflags", "-X main.version=1.2.3", "-o", path, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

func TestStaysSmall(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.Lines(string(out)) {
		for _, bad := range []string{"hashicorp/nomad", "hashicorp/consul", "hashicorp/hcl", "zclconf/go-cty", "wadi/jobspecs", "wadi/agent", "wadi/scheduler", "wadi/internal"} {
			if strings.Contains(dep, bad) {
				t.Errorf("links %s", dep)
			}
		}
	}
}

func TestCommand(t *testing.T) {
	bin := binary(t)
	for _, tt := range []struct {
		name     string
		args     []string
		env      []string
		exit     int
		out, err []string
	}{
		{"version", []string{"-version"}, nil, 0, []string{"queue-proxy 1.2.3"}, nil},
		{"help", []string{"-h"}, nil, 0, nil, []string{"Usage: queue-proxy", "WADI_TARGET"}},
		{"unknown flag", []string{"-x"}, nil, 2, nil, []string{"Usage: queue-proxy"}},
		{"argument", []string{"x"}, nil, 2, nil, []string{"Usage: queue-proxy"}},
		{"environment", nil, []string{"WADI_X=1"}, 2, nil, []string{
			"queue-proxy: WADI_LISTEN: is required\n", "queue-proxy: WADI_X: there is no such setting\n"}},
		{"address taken", nil, environ("127.0.0.1:0", taken(t)), 1, nil, []string{"address already in use"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command(bin, tt.args...)
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, tt.env...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			_ = cmd.Run() // The exit code is checked below.
			if got := cmd.ProcessState.ExitCode(); got != tt.exit {
				t.Errorf("exit %d, want %d", got, tt.exit)
			}
			for _, want := range tt.out {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("output %q, want %q", &stdout, want)
				}
			}
			for _, want := range tt.err {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("errors %q, want %q", &stderr, want)
				}
			}
		})
	}
}

func TestCommand_DrainsOnSignal(t *testing.T) {
	bin := binary(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd := exec.Command(bin)
		cmd.Env = environ("127.0.0.1:0", "127.0.0.1:0")
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			log.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), "queue-proxy started") {
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err != nil || !strings.Contains(log.String(), "drained") {
			t.Errorf("%v: %v\n%s", sig, err, &log)
		}
	}
}

func environ(metrics, listen string) []string {
	return []string{"WADI_SERVICE=a", "WADI_REVISION=a-00001", "WADI_LISTEN=" + listen,
		"WADI_ADMIN=127.0.0.1:0", "WADI_METRICS=" + metrics, "WADI_TARGET=127.0.0.1:1"}
}

func taken(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}
