//go:build linux

package main

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wadi-run/wadi/agent/agenttest"
)

// systemd hears what an agent waits for, that it has started, and that it stops.
func TestTellSystemd(t *testing.T) {
	heard := systemd(t)
	var waits atomic.Value
	waits.Store("Consul at http://c:\nREADY=1")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan bool)
	go func() {
		defer close(ended)
		tellSystemd(ctx, func() string { return waits.Load().(string) })
	}()
	if got := heard(); !slices.Equal(got, []string{"STATUS=Consul at http://c: READY=1"}) {
		t.Errorf("while it starts: %q", got)
	}
	waits.Store("")
	if got := heard(); !slices.Contains(got, "READY=1") {
		t.Errorf("started: %q", got)
	}
	stop()
	if got := heard(); !slices.Contains(got, "STOPPING=1") {
		t.Errorf("stopping: %q", got)
	}
	<-ended
}

// An agent tells systemd for what its start waits, and that it stops.
func TestAgent_TellsSystemd(t *testing.T) {
	heard := systemd(t)
	file, _ := agenttest.SecureConfig(t, false) // Its Consul does not answer.
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		ended <- run(ctx, []string{"agent", "-config", file, "-name", "one"}, strings.NewReader(""), io.Discard, io.Discard, nil)
	}()
	defer func() { cancel(); <-ended }()
	for !strings.HasPrefix(heard()[0], "STATUS=waits for Consul at ") {
	}
	cancel()
	for heard()[0] != "STOPPING=1" {
	}
}

// systemd listens in place of systemd. The function returns the next message, in lines.
func systemd(t *testing.T) (heard func() []string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	t.Setenv("NOTIFY_SOCKET", socket)
	return func() []string {
		b := make([]byte, 4096)
		_ = l.SetReadDeadline(time.Now().Add(30 * time.Second))
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(string(b[:n]), "\n")
	}
}

// A crash of a Go program has the exit code of a wrong configuration: the unit starts again.
func TestUnit_StartsAgain(t *testing.T) {
	b, err := os.ReadFile("../../packaging/systemd/wadi.service")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "RestartPrevent") || strings.HasPrefix(line, "SuccessExitStatus") {
			t.Errorf("an agent that has crashed stays down: %s", line)
		}
	}
	if !strings.Contains(string(b), "\nRestart=on-failure\n") {
		t.Error("the unit does not start again")
	}
}

// systemd itself finds nothing wrong in the unit.
func TestUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("skipped: there is no systemd-analyze to check the unit")
	}
	unit := filepath.Join(t.TempDir(), "wadi.service")
	b, err := os.ReadFile("../../packaging/systemd/wadi.service")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if !strings.Contains(text, "\nExecStart=/usr/local/bin/wadi agent -config /etc/wadi/\n") {
		t.Fatal("the unit starts no agent")
	}
	// The program has to exist.
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(text, "=/usr/local/bin/wadi ", "=/bin/true ")), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("verify: %v: %s", err, out)
	}
}
