//go:build e2e

package wire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
	"github.com/wadi-run/wadi/test/harness/wire"
)

// Two namespaces, one with a bridge.
const (
	hubAddr, leafAddr = "10.215.0.1", "10.215.0.2"
	port              = 7007
)

type pair struct{ hub, leaf string } // Files.

func connect(t *testing.T) pair {
	t.Helper()
	p := pair{netns(t, "hub"), netns(t, "leaf")}
	run(t, p.hub, "ip link set lo up")
	run(t, p.hub, "ip link add bridge type bridge")
	run(t, p.hub, "ip addr add "+hubAddr+"/24 dev bridge")
	run(t, p.hub, "ip link set bridge up")
	run(t, p.hub, "ip link add port type veth peer name eth0 netns "+p.leaf)
	run(t, p.hub, "ip link set port master bridge up")
	run(t, p.leaf, "ip link set lo up")
	run(t, p.leaf, "ip addr add "+leafAddr+"/24 dev eth0")
	run(t, p.leaf, "ip link set eth0 up")
	p.echo(t, p.hub, hubAddr)
	p.echo(t, p.leaf, leafAddr)
	return p
}

func netns(t *testing.T, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	harnesstest.Must(t, "make the file", os.WriteFile(file, nil, 0o600))
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // The thread ends with this goroutine.
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), file, "", unix.MS_BIND, "")
		}
		done <- err
	}()
	if err := <-done; errors.Is(err, unix.EPERM) {
		t.Skip("no network namespaces for this user")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { harnesstest.Must(t, "remove the namespace", unix.Unmount(file, unix.MNT_DETACH)) })
	return file
}

func run(t *testing.T, netns, command string) {
	t.Helper()
	if out, err := exec.Command("nsenter", "--net="+netns, "sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// echo serves connections that say back what they hear.
func (p pair) echo(t *testing.T, netns, addr string) {
	t.Helper()
	listening := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		ns, err := os.Open(netns)
		if err != nil {
			listening <- err
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			listening <- err
			return
		}
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", addr, port))
		listening <- err
		if err != nil {
			return
		}
		context.AfterFunc(t.Context(), func() { _ = l.Close() })
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	harnesstest.Must(t, "listen", <-listening)
}

func dial(t *testing.T, netns, addr string) net.Conn {
	t.Helper()
	c, err := harnesstest.DialIn(t.Context(), netns, fmt.Sprintf("%s:%d", addr, port))
	harnesstest.Must(t, "dial", err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// says sends text and wants it back within a time.
func says(c net.Conn, text []byte, within time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(text)
		sent <- err
	}()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, text) {
		return errors.New("another text came back")
	}
	return <-sent
}

const (
	soon = 500 * time.Millisecond // To see that nothing comes.
	late = 30 * time.Second
)

// What is dropped is that way, and those ports, and open connections too; healed, an open
// connection goes on.
func TestDrop(t *testing.T) {
	p := connect(t)
	for _, tt := range []struct {
		name    string
		at      string
		packets wire.Packets
		cut     bool
	}{
		{"all", p.hub, wire.Packets{From: leafAddr}, true},
		{"requests", p.hub, wire.Packets{From: leafAddr, Ports: []string{"7007"}, OnlyTo: true}, true},
		{"answers", p.leaf, wire.Packets{Ports: []string{"7007"}, OnlyFrom: true}, true},
		{"another port", p.hub, wire.Packets{Ports: []string{"7008-7100"}}, false},
		{"the other way", p.leaf, wire.Packets{Ports: []string{"7007"}, OnlyTo: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, p.leaf, hubAddr)
			harnesstest.Must(t, "say before", says(c, []byte("before"), late))
			heal, err := wire.Drop(t.Context(), tt.at, tt.packets)
			harnesstest.Must(t, "drop", err)
			text := []byte("during")
			if err := says(c, text, soon); tt.cut != errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("meanwhile: got %v; want it cut: %v", err, tt.cut)
			}
			harnesstest.Must(t, "heal", heal())
			harnesstest.Must(t, "heal twice", heal())
			if tt.cut { // The answer to what was said meanwhile comes now.
				got := make([]byte, len(text))
				harnesstest.Must(t, "wait no longer than", c.SetDeadline(time.Now().Add(late)))
				_, err = io.ReadFull(c, got)
				harnesstest.Must(t, "read what was said meanwhile", err)
			}
			harnesstest.Must(t, "say afterwards", says(c, []byte("after"), late))
		})
	}
}

// Frames come later, large ones too; lost ones are sent again by TCP; healed, all is as fast
// as before.
func TestRelay(t *testing.T) {
	p := connect(t)
	c := dial(t, p.leaf, hubAddr)
	heal, err := wire.Relay(t.Context(), p.hub, "port", "bridge", 100*time.Millisecond, 0)
	harnesstest.Must(t, "relay", err)
	began := time.Now()
	harnesstest.Must(t, "say", says(c, []byte("slow"), late))
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("there and back took %v, want 200 ms at least", took)
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<15)
	harnesstest.Must(t, "say much", says(c, large, late))
	harnesstest.Must(t, "say from the other side", says(dial(t, p.hub, leafAddr), large, late))
	harnesstest.Must(t, "heal", heal())
	harnesstest.Must(t, "heal twice", heal())
	harnesstest.Must(t, "say much afterwards", says(c, large, late))

	heal, err = wire.Relay(t.Context(), p.hub, "port", "bridge", 0, 100)
	harnesstest.Must(t, "relay", err)
	if err := says(c, []byte("gone"), soon); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("with all frames lost: got %v, want none", err)
	}
	harnesstest.Must(t, "heal", heal())
	got := make([]byte, len("gone"))
	harnesstest.Must(t, "wait no longer than", c.SetDeadline(time.Now().Add(late)))
	_, err = io.ReadFull(c, got)
	harnesstest.Must(t, "read what was said meanwhile", err)
}
