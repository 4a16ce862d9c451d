package nodes

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	network    = "10.214.0." // Of the nodes; it exists in their namespaces alone.
	serverAddr = network + "1"
	bridge     = "nodes" // In the server's namespace, with a port for each node.
	uplink     = "eth0"  // In each node's namespace.
)

// addrOf is the address of a node, counted from 1.
func addrOf(i int) string { return fmt.Sprintf("%s%d", network, 10+i) }

// portOf is the interface of the server's namespace that a node is connected to.
func portOf(i int) string { return fmt.Sprintf("node%d", i) }

// makeNetns makes a network namespace that is kept by a mount on the file. Nothing but the
// mount and the processes in it keeps it, so the slot's cleanup ends it.
func makeNetns(file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make network namespace: %w", err)
	}
	_ = f.Close() // Nothing was written.
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // The thread ends with this goroutine, in the new namespace.
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("make network namespace: %w", err)
			return
		}
		err := unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), file, "", unix.MS_BIND, "")
		if err == nil {
			// Nomad turns the same on for bridge networks; without it a node routes nothing.
			err = os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
		}
		if err != nil {
			err = fmt.Errorf("keep network namespace: %w", err)
		}
		done <- err
	}()
	return <-done
}

// ip runs commands of iproute2 in a namespace.
func ip(ctx context.Context, netns string, commands ...string) error {
	cmd := exec.CommandContext(ctx, "nsenter", "--net="+netns, "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip in %s: %w: %s", filepath.Base(netns), err, out)
	}
	return nil
}

// connect makes the namespaces of all nodes and their network.
func (c *Cluster) connect(ctx context.Context) error {
	for _, n := range append([]*Node{c.Server}, c.Nodes...) {
		if err := makeNetns(n.Netns); err != nil {
			return err
		}
	}
	commands := []string{
		"link set lo up",
		"link add " + bridge + " type bridge",
		"addr add " + serverAddr + "/24 dev " + bridge,
		"link set " + bridge + " up",
	}
	for i, n := range c.Nodes {
		port := portOf(i + 1)
		commands = append(commands,
			"link add "+port+" type veth peer name "+uplink+" netns "+n.Netns,
			"link set "+port+" master "+bridge,
			"link set "+port+" up")
	}
	if err := ip(ctx, c.Server.Netns, commands...); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if err := ip(ctx, n.Netns, "link set lo up", "addr add "+n.Addr+"/24 dev "+uplink,
			"link set "+uplink+" up", "route add default via "+serverAddr); err != nil {
			return err
		}
	}
	return nil
}

// Unplug takes the node's network away. What is on the node runs on.
func (n *Node) Unplug(ctx context.Context) error {
	return ip(ctx, n.cluster.Server.Netns, "link set "+portOf(n.number)+" down")
}

// Plug gives it back.
func (n *Node) Plug(ctx context.Context) error {
	return ip(ctx, n.cluster.Server.Netns, "link set "+portOf(n.number)+" up")
}
