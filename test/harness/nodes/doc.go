// Package nodes runs a cluster of several nodes on one machine, for end-to-end tests: a
// Nomad and a Consul server, and Nomad clients with a Consul client agent each, every one
// of them in a network namespace of its own.
//
// It promises that nothing of it is in the machine's own network, so that clusters run
// beside each other and beside the machine's Nomad, that Stop leaves nothing behind, and
// that the next start cleans up what a killed run left. It refuses to fake a node's death:
// Kill ends everything that runs there, and takes its network away.
package nodes
