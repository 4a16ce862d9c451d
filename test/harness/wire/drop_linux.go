package wire

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// healWithin bounds the commands that mend.
const healWithin = 10 * time.Second

// tables numbers the tables of this process.
var tables atomic.Int64

// Packets are those that arrive in a namespace. Of its fields those that are set count;
// forwarded packets and those of its loopback arrive too.
type Packets struct {
	From  string   // Source address.
	To    string   // Destination address.
	Ports []string // TCP and UDP, of either end: numbers, and ranges such as "20000-32000".

	// OnlyTo and OnlyFrom narrow Ports to the destination's and the source's: requests to
	// the ports, and answers from them.
	OnlyTo, OnlyFrom bool

	Percent int // So many in a hundred, by chance; 0 is all.
}

// rules are nftables' for the packets.
func (p Packets) rules() []string {
	match := ""
	if p.From != "" {
		match += "ip saddr " + p.From + " "
	}
	if p.To != "" {
		match += "ip daddr " + p.To + " "
	}
	end := "drop"
	if p.Percent > 0 {
		end = fmt.Sprintf("numgen random mod 100 < %d drop", p.Percent)
	}
	if len(p.Ports) == 0 {
		return []string{match + end}
	}
	set := "{ " + strings.Join(p.Ports, ", ") + " } "
	var rules []string
	for _, of := range []struct {
		port string
		skip bool
	}{{"dport", p.OnlyFrom}, {"sport", p.OnlyTo}} {
		if !of.skip {
			rules = append(rules, match+"meta l4proto { tcp, udp } th "+of.port+" "+set+end)
		}
	}
	return rules
}

// Drop drops packets that arrive in a namespace, silently, those of open connections too,
// until heal.
func Drop(ctx context.Context, netns string, packets ...Packets) (heal func() error, err error) {
	table := fmt.Sprintf("inet wadi_cut_%d", tables.Add(1))
	var text strings.Builder
	// Before any translation of addresses: the ports are those that the sender knows.
	fmt.Fprintf(&text, "table %s {\n  chain arriving {\n    type filter hook prerouting priority -310; policy accept;\n", table)
	for _, p := range packets {
		for _, rule := range p.rules() {
			fmt.Fprintf(&text, "    %s\n", rule)
		}
	}
	text.WriteString("  }\n}\n")
	if err := nft(ctx, netns, text.String()); err != nil {
		return nil, err
	}
	return sync.OnceValue(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), healWithin)
		defer cancel()
		return nft(ctx, netns, "delete table "+table+"\n")
	}), nil
}

func nft(ctx context.Context, netns, text string) error {
	cmd := exec.CommandContext(ctx, "nsenter", "--net="+netns, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft in %s: %w: %s", filepath.Base(netns), err, out)
	}
	return nil
}
