// Package firewall closes an instance's own network to everything from outside but the
// ports that are meant to be open, wherever the app listens: the setting shield.
//
// It promises that rules are loaded only into a network that is surely not the host's,
// in one transaction, and that connections which exist already go on. It never removes
// its rules: they end with the network.
package firewall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

// timeout bounds how long nft may take; it takes 20 ms.
const timeout = 5 * time.Second

const maxNftLine = 80 // Characters of nft's error that are repeated.

// Ports are the ports of an instance's network. Port 0 stands for none.
type Ports struct {
	Mesh   []uint16 // Open over TCP: Envoy's and the metrics port.
	Mapped []uint16 // Open over TCP and UDP: what the instance's network block maps.
	Closed []uint16 // Never open, even if mapped: the app's and the queue-proxy's own.
}

// open returns the ports to open, sorted and without those that occur before.
func (p Ports) open() (mesh, mapped []uint16) {
	seen := append([]uint16{0}, p.Closed...)
	add := func(ports []uint16) (out []uint16) {
		for _, port := range ports {
			if !slices.Contains(seen, port) {
				seen = append(seen, port)
				out = append(out, port)
			}
		}
		slices.Sort(out)
		return out
	}
	mesh = add(p.Mesh)
	return mesh, add(p.Mapped)
}

// rules is the script for nft: one transaction, which replaces the rules of an earlier
// queue-proxy of the instance. A TCP connection begins with a SYN: any other segment
// belongs to a connection that exists, perhaps the app's and from before these rules,
// when the kernel did not track connections.
func (p Ports) rules() string {
	mesh, mapped := p.open()
	var b strings.Builder
	b.WriteString(`table inet wadi
delete table inet wadi
table inet wadi {
	chain input {
		type filter hook input priority 0; policy drop;
		iifname "lo" accept
		ct state established,related accept
		meta l4proto { icmp, ipv6-icmp } accept
		tcp flags & (fin | syn | rst | ack) != syn accept
`)
	open := func(protocol string, ports []uint16) {
		if len(ports) > 0 {
			fmt.Fprintf(&b, "\t\t%s dport { %s } accept\n", protocol, commas(ports))
		}
	}
	open("tcp", append(slices.Clone(mesh), mapped...))
	open("udp", mapped)
	b.WriteString("\t}\n}\n")
	return b.String()
}

func commas(ports []uint16) string {
	var texts []string
	for _, p := range ports {
		texts = append(texts, strconv.Itoa(int(p)))
	}
	return strings.Join(texts, ", ")
}

// Namespaces are files that stand for network namespaces.
type Namespaces struct {
	own   string // This process's.
	host  string // That of the machine's first process.
	named string // The one that Nomad makes for an instance with a network of its own.
}

// NamespacesOf returns the namespaces around this process, which serves the given
// instance (allocation ID).
func NamespacesOf(instance string) Namespaces {
	n := Namespaces{own: "/proc/self/ns/net", host: "/proc/1/ns/net"}
	if instance != "" && filepath.IsLocal(instance) {
		n.named = filepath.Join("/var/run/netns", instance)
	}
	return n
}

// Raise loads the rules into this process's network, unless that may be the host's. The
// error says why it can't, and the remedy.
func (p Ports) Raise(ctx context.Context, n Namespaces) error {
	if err := n.apart(); err != nil {
		return fmt.Errorf("%w; run the queue-proxy with raw_exec, as root", err)
	}
	nft, err := exec.LookPath("nft")
	if err != nil {
		return errors.New("there is no nft on the PATH; install nftables where the queue-proxy runs")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, nft, "-f", "-")
	cmd.Env = []string{"LC_ALL=C"}
	cmd.Stdin = strings.NewReader(p.rules())
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		line, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
		return fmt.Errorf("nft: %w: %s; it takes root or CAP_NET_ADMIN, and nf_tables in the kernel", err, wadi.OneLine(string(line), maxNftLine))
	}
	return nil
}

// apart returns an error unless the own network is surely another one than the host's:
// rules there would cut off the machine. Where the system hides the first process, the
// own network must be the one that Nomad has made.
func (n Namespaces) apart() error {
	own, err := os.Stat(n.own)
	if err != nil {
		return errors.New("its network can't be distinguished from the host's")
	}
	if host, err := os.Stat(n.host); err == nil {
		if os.SameFile(own, host) {
			return errors.New("its network is that of the first process it sees, perhaps the host's")
		}
		return nil
	}
	if named, err := os.Stat(n.named); err != nil || !os.SameFile(own, named) {
		return errors.New("its network can't be distinguished from the host's, as that of process 1 can't be read")
	}
	return nil
}
