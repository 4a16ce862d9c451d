package queue

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

// shieldTimeout bounds how long nft may take; it takes 20 ms.
const shieldTimeout = 5 * time.Second

const maxNftLine = 80 // Characters of what it complains about.

// shield is what an instance's own network lets in: nothing but this comes in from
// outside, wherever the app listens.
type shield struct {
	mesh  []uint16 // Over TCP: Envoy's port and the metrics port.
	users []uint16 // Over TCP and UDP: those that the instance's network block maps.
}

// newShield reads it from the configuration. The app's own port and the queue-proxy's
// never belong to it.
func newShield(c Config) shield {
	var s shield
	seen := []uint16{0, portOf(c.Target), portOf(c.Listen), portOf(c.Admin)}
	add := func(to *[]uint16, ports ...uint16) {
		for _, p := range ports {
			if !slices.Contains(seen, p) {
				seen = append(seen, p)
				*to = append(*to, p)
			}
		}
		slices.Sort(*to)
	}
	add(&s.mesh, portOf(c.Envoy), portOf(c.Metrics))
	add(&s.users, c.Mapped...)
	return s
}

// rules are the shield in the words of nft: one transaction, which takes the place of
// what an earlier queue-proxy of the instance has left. A connection of TCP begins with
// a SYN: all else belongs to one that there is, perhaps of the app and from before
// these rules, when nobody kept track.
func (s shield) rules() string {
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
	open("tcp", append(slices.Clone(s.mesh), s.users...))
	open("udp", s.users)
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

// networks are files that stand for network namespaces.
type networks struct {
	own   string // Of this process.
	hosts string // Of the machine's first process.
	named string // The one that Nomad has made for the instance; none is there for one in the host's.
}

func networksOf(instance string) networks {
	n := networks{own: "/proc/self/ns/net", hosts: "/proc/1/ns/net"}
	if instance != "" && filepath.IsLocal(instance) {
		n.named = filepath.Join("/var/run/netns", instance)
	}
	return n
}

// raise puts the shield up in this process's network, unless that may be the host's.
// The error says why that can't be, and what to do.
func (s shield) raise(ctx context.Context, n networks) error {
	if err := n.apart(); err != nil {
		return fmt.Errorf("%w; run the queue-proxy with raw_exec, as root", err)
	}
	nft, err := exec.LookPath("nft")
	if err != nil {
		return errors.New("there is no nft on the PATH; install nftables where the queue-proxy runs")
	}
	ctx, cancel := context.WithTimeout(ctx, shieldTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, nft, "-f", "-")
	cmd.Env = []string{"LC_ALL=C"}
	cmd.Stdin = strings.NewReader(s.rules())
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		line, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
		return fmt.Errorf("nft: %w: %s; it takes root or CAP_NET_ADMIN, and nf_tables in the kernel", err, wadi.Plain(string(line), maxNftLine))
	}
	return nil
}

// apart says why our network can't be told from the host's: rules there would cut off
// the machine. Some systems let nobody look at the first process; then ours must be the
// one that Nomad has made.
func (n networks) apart() error {
	own, err := os.Stat(n.own)
	if err != nil {
		return errors.New("its network can't be told from the host's")
	}
	if hosts, err := os.Stat(n.hosts); err == nil {
		if os.SameFile(own, hosts) {
			return errors.New("its network is that of the first process it sees, perhaps the host's")
		}
		return nil
	}
	if named, err := os.Stat(n.named); err != nil || !os.SameFile(own, named) {
		return errors.New("its network can't be told from the host's, as process 1 may not be looked at")
	}
	return nil
}

// raiseShield puts the shield up, if it is wanted, and says once if it can't be.
func (p *Proxy) raiseShield(ctx context.Context) {
	if !p.cfg.Shield {
		return
	}
	err := errors.New("it has no bridge network of its own") // The agent renders no such job.
	if p.witness.scene.own {
		err = newShield(p.cfg).raise(ctx, networksOf(p.cfg.Instance))
	}
	if err != nil {
		p.witness.unshielded = wadi.Plain(err.Error(), maxTrouble)
		p.log.Warn("the instance can't be shielded; it serves all the same", "reason", p.witness.unshielded)
		return
	}
	p.witness.shields = false // Wherever the app listens.
	p.log.Info("the instance is shielded: its network lets in Envoy's calls, the metrics port and the ports that it maps")
}
