package main

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// watched is what a watch prints until the bench's script is at its end, and then Ctrl-C.
func (b *bench) watched(t *testing.T, args ...string) output {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	b.then(stop)
	o := b.wadiIn(ctx, "", []string{"WADI_ADDR=" + b.URL}, append([]string{"service", "status", "-watch"}, args...)...)
	stamp := regexp.MustCompile(`(?m)^== \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$`)
	o.stdout = stamp.ReplaceAllString(o.stdout, "== TIME")
	return o.normal()
}

func TestServiceStatus_Watch(t *testing.T) {
	b := newBench(t)
	if o := b.wadi(t, "apply", "-detach", file(t, hello)); o.code != 0 {
		t.Fatalf("got %+v", o)
	}
	b.then(b.status(pending("starting")), nothing, b.status(ready()), nothing)
	o := b.watched(t, "hello")
	o.golden(t, "service_status_watch.txt")
	if o.code != 0 || o.stderr != "" {
		t.Errorf("got %+v", o)
	}
}

func TestServiceStatus_WatchJSON(t *testing.T) {
	b := newBench(t)
	if o := b.wadi(t, "apply", "-detach", file(t, hello)); o.code != 0 {
		t.Fatalf("got %+v", o)
	}
	b.then(b.status(pending("starting")), func() { b.store.Fail(wadi.ErrUnavailable) }, nothing,
		func() { b.store.Fail(nil); b.store.SetStatus(ready()) })
	o := b.watched(t, "-json", "hello")
	var phases []string
	for line := range strings.Lines(o.stdout) {
		var s api.Service
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		phases = append(phases, s.Phase)
	}
	if diff := cmp.Diff([]string{"pending", "ready"}, phases); diff != "" || o.code != 0 {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	if want := "The agent does not answer; trying again: "; strings.Count(o.stderr, want) != 1 || !strings.HasSuffix(o.stderr, "\nThe agent answers again.\n") {
		t.Errorf("got %q", o.stderr)
	}
}

// A watch ends with its service, and does not begin without one.
func TestServiceStatus_WatchEnds(t *testing.T) {
	b := newBench(t)
	b.wadi(t, "service", "status", "-watch", "hello").want(t, 1, "", "Error: service hello: not found\n")
	b.wadi(t, "service", "status", "-watch", "-address", "127.0.0.1:1", "hello").want(t, 1, "",
		"Error: reach the agent at http://ADDRESS: unavailable: dial tcp ADDRESS: connect: connection refused\nIs an agent running there? Start one with \"wadi agent\", or name another address with -address or WADI_ADDR.\n")
	if o := b.wadi(t, "apply", "-detach", file(t, hello)); o.code != 0 {
		t.Fatalf("got %+v", o)
	}
	b.then(b.status(ready()), func() { b.store.Forget("hello") })
	if o := b.wadi(t, "service", "status", "-watch", "hello"); o.code != 1 || o.stderr != "Error: service hello: not found\n" || strings.Count(o.stdout, "== ") != 1 {
		t.Errorf("got %+v", o)
	}
}

func TestFit(t *testing.T) {
	text := "1\n" + green + "2345" + reset + "\n67890\nx\n"
	for _, tt := range []struct {
		name          string
		width, height int
		want          string
	}{
		{"all", 5, 4, text},
		{"colours take no room", 4, 5, text},
		{"a row is missing", 5, 3, "1\n" + green + "2345" + reset + "\n… 2 lines more\n"},
		{"a long line takes two rows", 4, 4, "1\n" + green + "2345" + reset + "\n… 2 lines more\n"},
		{"nothing fits", 5, 1, "… 4 lines more\n"},
	} {
		if got := fit(text, tt.width, tt.height); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A picture begins at the top left, and leaves nothing of the one before.
func TestScreen(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, width: 80, height: 24}
	c := &call{stdio: stdio{stdout: s, env: map[string]string{}}}
	c.printf("%s\n", c.paint(c.stdout, "ready"))
	s.draw()
	c.printf("b\n")
	s.draw()
	if got, want := out.String(), "\x1b[H"+green+"ready"+reset+"\x1b[K\n\x1b[J\x1b[Hb\x1b[K\n\x1b[J"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
