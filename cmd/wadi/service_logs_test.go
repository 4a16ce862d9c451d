package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/nomad/logtest"
)

// logBench is a bench with the service hello, whose instances are in a Nomad.
func logBench(t *testing.T) (*bench, *logtest.Nomad) {
	t.Helper()
	b := newBench(t)
	if o := b.wadi(t, "apply", "-detach", file(t, hello)); o.code != 0 {
		t.Fatalf("got %+v", o)
	}
	b.store.SetStatus(ready())
	return b, logtest.Start(t)
}

func (b *bench) logs(t *testing.T, n *logtest.Nomad, args ...string) output {
	t.Helper()
	env := []string{"WADI_ADDR=" + b.URL, "NOMAD_ADDR=" + n.URL}
	return b.wadiIn(t.Context(), "", env, append([]string{"service", "logs"}, args...)...)
}

func TestServiceLogs(t *testing.T) {
	b, n := logBench(t)
	b.logs(t, n, "hello").want(t, 0, "", "hello has no instance, and Nomad has none of its earlier ones any more. With -follow this command waits for one.\n")
	n.Run("hello-00001", "aaaaaaaa-1111")
	n.Run("hello-00001", "bbbbbbbb-2222")
	n.Place("hello-00001", "cccccccc-3333")
	n.Write("aaaaaaaa-1111", "web", "stdout", "one\ntwo\nthree\x1b[2J\n")
	n.Write("aaaaaaaa-1111", "web", "stderr", "oh")
	n.Write("bbbbbbbb-2222", "web", "stdout", "four\n")
	n.Write("bbbbbbbb-2222", "queue-proxy", "stdout", "proxy\n")

	b.logs(t, n, "-n", "2", "hello").want(t, 0, `hello-00001/aaaaaaaa: two
hello-00001/aaaaaaaa: three[2J
hello-00001/aaaaaaaa stderr: oh
hello-00001/bbbbbbbb: four
`, "")
	b.logs(t, n, "-task", "queue-proxy", "hello").want(t, 0, "hello-00001/bbbbbbbb: proxy\n", "")
	b.logs(t, n, "-task", "sql", "hello").want(t, 1, "", "Error: no instance of hello has a task \"sql\"; there are queue-proxy, web\n")

	o := b.logs(t, n, "-json", "-n", "1", "hello")
	var line logLine
	if err := json.Unmarshal([]byte(strings.SplitN(o.stdout, "\n", 2)[0]), &line); err != nil {
		t.Fatalf("%v: %+v", err, o)
	}
	if want := (logLine{"hello", "hello-00001", "aaaaaaaa-1111", "web", "stdout", "three\x1b[2J"}); line != want || strings.Count(o.stdout, "\n") != 3 {
		t.Errorf("got %+v", o)
	}
}

// At zero the logs are those of the instance that was there last.
func TestServiceLogs_AtZero(t *testing.T) {
	b, n := logBench(t)
	for i := range 3 {
		id := fmt.Sprintf("%d0000000", i)
		n.Run("hello-00001", id)
		n.Write(id, "web", "stdout", id+"\n")
		n.End(id)
	}
	b.logs(t, n, "hello").want(t, 0, "hello-00001/20000000: 20000000\n", "")
}

// What Nomad has no log of is said, and hides nothing else.
func TestServiceLogs_NoLog(t *testing.T) {
	b, n := logBench(t)
	n.NoStderr = true
	n.Run("hello-00001", "aaaaaaaa")
	n.Write("aaaaaaaa", "web", "stdout", "one\n")
	b.logs(t, n, "hello").want(t, 0, "hello-00001/aaaaaaaa: one\n",
		"stderr of task web in instance aaaaaaaa: not found: log entry for task \"web\" and log type \"stderr\" not found\n")
}

// Of a log's end that begins within a line, that line is left out.
func TestServiceLogs_LongLog(t *testing.T) {
	b, n := logBench(t)
	n.Run("hello-00001", "aaaaaaaa")
	n.Write("aaaaaaaa", "web", "stdout", strings.Repeat("x", minTail)+"\n"+"second\n")
	b.logs(t, n, "-n", "2", "hello").want(t, 0, "hello-00001/aaaaaaaa: second\n", "")
}

func TestServiceLogs_Refused(t *testing.T) {
	b, n := logBench(t)
	n.Token = "alice"
	o := b.logs(t, n, "-token", "bob", "hello")
	o.want(t, 1, "", "Error: list instances of hello-00001: permission denied: Permission denied (the token needs read-job and read-logs in namespace \"default\" of Nomad)\n")
	b.logs(t, n, "-nomad-address", "http://127.0.0.1:1", "hello").want(t, 1, "",
		"Error: list instances of hello-00001: unavailable: dial tcp ADDRESS: connect: connection refused (Nomad is sought at http://ADDRESS; name another address with -nomad-address or NOMAD_ADDR)\n")
	b.logs(t, n, "other").want(t, 1, "", "Error: service other: not found\n")
	if o := b.logs(t, n, "-n", "-1", "hello"); o.code != 2 {
		t.Errorf("got %+v", o)
	}
}

// buffer is what a command has written so far.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// wait waits until text is there.
func (b *buffer) wait(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(b.String(), text); {
		if time.Now().After(end) {
			t.Fatalf("there is no %q in\n%s", text, b.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestServiceLogs_Follow(t *testing.T) {
	b, n := logBench(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var stdout, stderr buffer
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"service", "logs", "-follow", "-n", "1", "hello"}, strings.NewReader(""), &stdout, &stderr,
			[]string{"WADI_ADDR=" + b.URL, "NOMAD_ADDR=" + n.URL})
	}()
	stderr.wait(t, "hello has no instance now; waiting for one.\n")
	n.Place("hello-00001", "aaaaaaaa")
	n.Write("aaaaaaaa", "web", "stdout", "one\ntwo\n")
	n.Start("aaaaaaaa")
	stdout.wait(t, "hello-00001/aaaaaaaa: one\nhello-00001/aaaaaaaa: two\n") // A new instance's log is shown whole.
	n.Write("aaaaaaaa", "web", "stderr", "oh\n")
	stdout.wait(t, "hello-00001/aaaaaaaa stderr: oh\n")
	n.Run("hello-00001", "bbbbbbbb")
	n.Write("bbbbbbbb", "web", "stdout", "three\n")
	stdout.wait(t, "hello-00001/bbbbbbbb: three\n")
	n.Write("aaaaaaaa", "web", "stdout", "bye\n")
	n.End("aaaaaaaa")
	stdout.wait(t, "hello-00001/aaaaaaaa: bye\n")
	stop()
	if code := <-done; code != 0 || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("code %d, %s", code, stderr.String())
	}
}

// Of instances that are there already only the last lines are shown, and then what they
// write.
func TestServiceLogs_FollowFromTheEnd(t *testing.T) {
	b, n := logBench(t)
	n.Run("hello-00001", "aaaaaaaa")
	n.Write("aaaaaaaa", "web", "stdout", "one\ntwo\n")
	for _, tt := range []struct{ lines, want string }{
		{"1", "hello-00001/aaaaaaaa: two\nhello-00001/aaaaaaaa: new\n"},
		{"0", "hello-00001/aaaaaaaa: new\n"},
	} {
		ctx, stop := context.WithCancel(t.Context())
		var stdout, stderr buffer
		done := make(chan int, 1)
		go func() {
			done <- run(ctx, []string{"service", "logs", "-follow", "-n", tt.lines, "hello"}, strings.NewReader(""), &stdout, &stderr,
				[]string{"WADI_ADDR=" + b.URL, "NOMAD_ADDR=" + n.URL})
		}()
		if n.Opened(2); tt.lines == "1" {
			stdout.wait(t, "two\n")
		}
		n.Write("aaaaaaaa", "web", "stdout", "new\n")
		stdout.wait(t, "new\n")
		stop()
		if code := <-done; code != 0 || stdout.String() != tt.want || stderr.String() != "" {
			t.Errorf("-n %s: code %d, %q, %s", tt.lines, code, stdout.String(), stderr.String())
		}
	}
}

// The logs of ended instances are closed, and forgotten with them.
func TestLogWatch_Ends(t *testing.T) {
	ended := 0
	w := &logWatch{call: &call{}, logOptions: logOptions{follow: true, task: "web"}, seen: map[string]*shownInstance{
		"a": {cancel: func() { ended++ }}, "b": {cancel: func() { ended += 10 }},
	}}
	there := []nomad.Instance{{ID: "a", Ended: true}, {ID: "b"}}
	for _, want := range []int{0, 1, 1} {
		if w.endEnded(there); ended != want {
			t.Errorf("%d, want %d", ended, want)
		}
	}
	w.endEnded(there[1:])
	if diff := cmp.Diff(1, len(w.seen)); diff != "" || w.seen["b"] == nil {
		t.Errorf("got %v", w.seen)
	}
}
