// Package freeport finds free ports of 127.0.0.1 for programs that are started soon, and
// perhaps stopped and started again.
//
// It promises that no two processes that use it get the same port while both run, and that
// neither the kernel nor Nomad gives the port to another program by itself. It can't
// prevent that a program takes exactly this port.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// Ports are chosen above the privileged ones, and below those that Nomad (from 20000 on)
// and the kernel (from 32768 on) give to any program.
const (
	lowest  = 10000
	highest = 19999
	tries   = 500
)

// Listen listens on a free port. The port belongs to this process until the process ends,
// even if the listener is closed.
func Listen() (net.Listener, error) {
	for range tries {
		port := lowest + rand.IntN(highest-lowest+1)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			continue
		case err != nil:
			return nil, fmt.Errorf("listen: %w", err)
		case claim(port):
			return l, nil
		}
		_ = l.Close() // Another process has claimed it without listening now.
	}
	return nil, fmt.Errorf("listen: %d ports between %d and %d are in use", tries, lowest, highest)
}

// Claim gives this process a port until the process ends. It reports false if the port is
// in use, or another process that uses this package has it.
func Claim(address string, port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = l.Close() // Nothing was written.
	return claim(port)
}

// Ports returns n different free ports, which belong to this process until it ends.
func Ports(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := Listen()
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // Closed at the end, so that no port is chosen twice.
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
