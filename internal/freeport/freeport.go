// Package freeport finds ports of 127.0.0.1 for programs that are started soon, and
// perhaps stopped and started again.
//
// It promises that no two processes that use it get the same port while both live,
// and that the kernel and Nomad give it to nobody else by themselves. It can't keep
// a program that asks for exactly that port from taking it.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// Ports are chosen between those that need a right and those that the kernel, from
// 32768 on, or Nomad, from 20000 on, gives to anybody.
const (
	lowest  = 10000
	highest = 19999
	tries   = 500
)

// Listen listens on a port that nobody uses. It belongs to this process until that
// ends, also when the listener is closed.
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
		_ = l.Close() // Another process has chosen it, and does not use it just now.
	}
	return nil, fmt.Errorf("listen: %d ports between %d and %d are in use", tries, lowest, highest)
}

// Claim makes port this process's own until that ends, if nobody uses it and no other
// process that uses this package has it.
func Claim(address string, port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = l.Close() // Nothing was written.
	return claim(port)
}

// Ports returns n different ones that nobody uses.
func Ports(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := Listen()
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // At the end, so that none is chosen twice.
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
