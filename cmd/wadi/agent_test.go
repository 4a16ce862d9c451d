package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-run/wadi/agent/agenttest"
)

// An agent refuses to start with a certificate that can't be used.
func TestAgent_BrokenCertificate(t *testing.T) {
	file, certs := agenttest.SecureConfig(t, false)
	b := newBench(t)
	for name, text := range map[string]string{"broken.pem": "no certificate", "broken.key": "no key"} {
		if err := os.WriteFile(filepath.Join(certs, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := b.wadi(t, "agent", "-config", file)
	if o.code != 1 || !strings.Contains(o.stderr, "gateway.tls.cert_dir: ") || !strings.Contains(o.stderr, filepath.Join(certs, "broken.pem")) {
		t.Errorf("got %+v", o)
	}
	if err := os.RemoveAll(certs); err != nil {
		t.Fatal(err)
	}
	o = b.wadi(t, "agent", "-config", file)
	if o.code != 2 || !strings.Contains(o.stderr, "wadi.hcl:8,") || !strings.Contains(o.stderr, "there is no folder") {
		t.Errorf("got %+v", o)
	}
}

// lines collects an agent's output; a test can wait for a text.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) await(t *testing.T, want string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		l.mu.Lock()
		got := l.buf.String()
		l.mu.Unlock()
		if strings.Contains(got, want) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no %q in\n%s", want, got)
		}
	}
}

// A SIGHUP changes settings, the format of the log included, names those that need a
// restart, and reports mistakes in the file, which change nothing.
func TestAgent_Hangup(t *testing.T) {
	file, _ := agenttest.SecureConfig(t, false)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out := &lines{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		ended <- run(ctx, []string{"agent", "-config", file, "-name", "one"}, strings.NewReader(""), io.Discard, out, nil)
	}()
	defer func() { cancel(); <-ended }()
	out.await(t, "waiting")
	hangup := func(next string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(next), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	hangup("log_level = \"debug\"\n" + string(text))
	out.await(t, "[INFO]  wadi: configuration reloaded: changed=log_level")
	hangup("limits { max_instances = 7 }\n" + strings.Replace(string(text), `http { address = "127.0.0.1:0" }`, `http { address = "127.0.0.1:1" }`, 1))
	out.await(t, `configuration reloaded: changed="limits.max_instances,log_level"`)
	out.await(t, "changed settings wait for a restart: settings=http.address")
	hangup("nonsense = 1\n" + string(text))
	out.await(t, `configuration not reloaded; the old one stays in force: error="`+file+":1,1: nonsense: ")
	hangup("log_json = true\n" + string(text))
	out.await(t, `"@level":"info","@message":"configuration reloaded","@module":"wadi"`)
	hangup(string(text))
	out.await(t, "[INFO]  wadi: configuration reloaded: changed=log_json")
}

// One mistake is not "1 mistakes".
func TestAgent_CountsMistakes(t *testing.T) {
	for config, want := range map[string]string{
		"":              "the configuration has 1 mistake; nothing was started", // It needs a queue_proxy.
		"nothing = 1\n": "the configuration has 2 mistakes; nothing was started",
	} {
		o := (&bench{}).wadiIn(t.Context(), "", nil, "agent", "-config", file(t, config))
		if o.code != exitUsage || !strings.Contains(o.stderr, want) {
			t.Errorf("got %+v, want %q", o, want)
		}
	}
}
