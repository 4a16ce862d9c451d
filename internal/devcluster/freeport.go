package devcluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
)

// Ports that are chosen are between those that need a right and those that the
// kernel, from 32768 on, or Nomad, from 20000 on, gives to anybody: a part that is
// stopped for a while finds its port free when it starts again.
const (
	lowestPort  = 10000
	highestPort = 19999
	portTries   = 500
)

// ListenFree listens on a port of 127.0.0.1 that nobody uses. Its number may be used
// once it is closed.
func ListenFree() (net.Listener, error) {
	for range portTries {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowestPort+rand.IntN(highestPort-lowestPort+1)))
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
	}
	return nil, fmt.Errorf("listen: %d ports between %d and %d are in use", portTries, lowestPort, highestPort)
}
