package replay_test

import (
	"io"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/proxy/replay"
)

func TestBody_IsReplayedWhileItIsWhole(t *testing.T) {
	b := replay.New(strings.NewReader("abcdef"), 6, 6)
	first := b.Attempt()
	_, _ = io.ReadFull(first, make([]byte, 3))
	_ = first.Close()
	if got, err := io.ReadAll(b.Attempt()); string(got) != "abcdef" || err != nil || !b.IsWhole() {
		t.Errorf("got %q, %v, whole %v, want all of it again", got, err, b.IsWhole())
	}
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("a closed attempt reads on")
	}
	b = replay.New(strings.NewReader("abcdef"), -1, 2)
	if _, _ = io.ReadFull(b.Attempt(), make([]byte, 3)); b.IsWhole() {
		t.Error("more was read than is kept, and it is still whole")
	}
}

func TestAsyncBody_EndsWithoutTheCaller(t *testing.T) {
	in, caller := io.Pipe()
	b := replay.NewAsync(in)
	first := b.Attempt()
	read := make(chan error)
	go func() { _, err := first.Read(make([]byte, 8)); read <- err }()
	_ = first.Close()
	if err := <-read; err == nil || b.IsUsed() {
		t.Errorf("got %v, used %v, want an error and an unused body", err, b.IsUsed())
	}
	go func() { _, _ = io.WriteString(caller, "abc"); _ = caller.Close() }()
	if got, err := io.ReadAll(b.Attempt()); string(got) != "abc" || err != nil {
		t.Errorf("got %q, %v, want what the first attempt did not get", got, err)
	}
}
