//go:build linux

package freeport_test

import (
	"net"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wadi-run/wadi/internal/freeport"
)

// The kernel does not give a chosen port to a connection.
func TestListen(t *testing.T) {
	seen := map[int]bool{}
	for range 50 {
		l, err := freeport.Listen()
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close() // The port can be used now, and belongs to this process.
		if port < 10000 || port >= 20000 || seen[port] {
			t.Errorf("got port %d, want another one from 10000 to 19999", port)
		}
		seen[port] = true
	}
}

// While a program with a chosen port is stopped, no other process gets the port.
func TestListen_StaysClaimed(t *testing.T) {
	ports, err := freeport.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: "@wadi-port-" + strconv.Itoa(ports[0])})
	if err != unix.EADDRINUSE {
		t.Errorf("claim of a port that was given: got %v, want %v", err, unix.EADDRINUSE)
	}
}
