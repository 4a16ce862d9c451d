package nomad_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/nomad/logtest"
)

func newLogs(t *testing.T, c nomad.Config) *nomad.Logs {
	t.Helper()
	l, err := nomad.NewLogs(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLogs_Instances(t *testing.T) {
	n := logtest.Start(t)
	n.Run("hello-00001", "b")
	n.Place("hello-00001", "a")
	n.Run("other-00001", "c")
	n.End("b")
	got, err := newLogs(t, nomad.Config{Address: n.URL}).Instances(t.Context(), "default", "hello-00001")
	if err != nil {
		t.Fatal(err)
	}
	want := []nomad.Instance{
		{ID: "b", Job: "hello-00001", Created: 1, Ended: true, Tasks: map[string]bool{"web": true, "queue-proxy": true}},
		{ID: "a", Job: "hello-00001", Created: 2, Tasks: map[string]bool{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLogs_Open(t *testing.T) {
	n := logtest.Start(t)
	n.Run("hello-00001", "a")
	n.Write("a", "web", "stdout", "one\ntwo\n")
	n.Write("a", "web", "stderr", "oh\n")
	l := newLogs(t, nomad.Config{Address: n.URL})
	for _, tt := range []struct {
		stream string
		tail   int64
		want   string
	}{{nomad.Stdout, -1, "one\ntwo\n"}, {nomad.Stdout, 4, "two\n"}, {nomad.Stdout, 100, "one\ntwo\n"}, {nomad.Stdout, 0, ""}, {nomad.Stderr, -1, "oh\n"}} {
		body, err := l.Open(t.Context(), nomad.Log{Namespace: "default", Instance: "a", Task: "web", Stream: tt.stream, Tail: tt.tail})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		if _ = body.Close(); err != nil || string(got) != tt.want {
			t.Errorf("%s, %d: %q, %v", tt.stream, tt.tail, got, err)
		}
	}
	_, err := l.Open(t.Context(), nomad.Log{Namespace: "default", Instance: "b", Task: "web", Stream: nomad.Stdout})
	if !errors.Is(err, wadi.ErrNotFound) || !strings.Contains(err.Error(), `Unknown allocation "b"`) {
		t.Errorf("got %v", err)
	}
}

// A log that is followed gives what is written later, and ends with its context.
func TestLogs_Follow(t *testing.T) {
	n := logtest.Start(t)
	n.Run("hello-00001", "a")
	n.Write("a", "web", "stdout", "one\n")
	ctx, cancel := context.WithCancel(t.Context())
	body, err := newLogs(t, nomad.Config{Address: n.URL}).Open(ctx, nomad.Log{
		Namespace: "default", Instance: "a", Task: "web", Stream: nomad.Stdout, Follow: true, Tail: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	buf := make([]byte, 8)
	if _, err := io.ReadFull(body, buf[:4]); err != nil {
		t.Fatal(err)
	}
	n.Write("a", "web", "stdout", "two\n")
	if _, err := io.ReadFull(body, buf[4:]); err != nil || string(buf) != "one\ntwo\n" {
		t.Fatalf("%q, %v", buf, err)
	}
	cancel()
	if _, err := body.Read(buf); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLogs_Token(t *testing.T) {
	n := logtest.Start(t)
	n.Token = "alice"
	n.Run("hello-00001", "a")
	if _, err := newLogs(t, nomad.Config{Address: n.URL, Token: "alice"}).Instances(t.Context(), "default", "hello-00001"); err != nil {
		t.Error(err)
	}
	t.Setenv("NOMAD_TOKEN", "alice") // Of the process, not the caller's.
	if _, err := newLogs(t, nomad.Config{Address: n.URL}).Instances(t.Context(), "default", "hello-00001"); !errors.Is(err, wadi.ErrForbidden) {
		t.Errorf("got %v", err)
	}
}
