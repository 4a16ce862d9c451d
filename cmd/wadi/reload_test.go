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

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/agent/config"
)

func loaded(t *testing.T, file string) config.Config {
	t.Helper()
	cfg, problems := config.Load([]string{file}, func(string) string { return "" }, config.Flags{Name: "one"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return cfg
}

// What is as it was differs in nothing, defaults of services and tasks included.
func TestDiffering(t *testing.T) {
	const example = "../../agent/config/example.hcl"
	a, b := loaded(t, example), loaded(t, example)
	if got := differing(a, b); len(got) > 0 {
		t.Errorf("the same twice: %v differ", got)
	}
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "wadi.hcl")
	changed := strings.NewReplacer(`max_wakes         = 20`, `max_wakes = 30`, `window = "90s"`, `window = "80s"`, `queue-proxy:0.1`, `queue-proxy:0.2`).Replace(string(text))
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"activator", "queue_proxy", "defaults"}, differing(a, loaded(t, file))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReload(t *testing.T) {
	file, _ := secureConfig(t, false)
	cfg := loaded(t, file)
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: io.Discard})
	n, err := newNode(t.Context(), cfg, log, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	part := log.Named("part")
	cfg.LogLevel = "debug"
	if got := n.reload(cfg); len(got) > 0 || !part.IsDebug() {
		t.Errorf("%v wait for a restart, level %s; want none, and debug", got, part.GetLevel())
	}
	cfg.LogLevel, cfg.Gateway.Domain = "warn", "other.example.com"
	if got := n.reload(cfg); !cmp.Equal(got, []string{"gateway"}) || part.IsInfo() {
		t.Errorf("%v wait for a restart, level %s; want the gateway, and warn", got, part.GetLevel())
	}
}

// lines is what an agent writes, to be waited for.
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

// A hangup is answered: by the new level, by what waits for a restart, and by what
// is wrong with the file, which changes nothing.
func TestAgent_Hangup(t *testing.T) {
	file, _ := secureConfig(t, false)
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
	out.await(t, "configuration read again: log_level=debug")
	hangup("limits { max_instances = 7 }\n" + string(text))
	out.await(t, "changed settings wait for a restart: settings=limits")
	hangup("nonsense = 1\n" + string(text))
	out.await(t, "the configuration is not read again: it has mistakes")
}
