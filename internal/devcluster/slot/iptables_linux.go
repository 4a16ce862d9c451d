package slot

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi/internal/toolchain"
)

// natAndFilter are the tables that Nomad and the CNI plugins write to.
var natAndFilter = []string{"filter", "nat"}

// cniShared are the chains that all networks share.
var cniShared = []string{"CNI-FORWARD", "CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-MASQ", "CNI-HOSTPORT-SETMARK", "NOMAD-ADMIN"}

// cleanIPTables removes the owned rules and chains, and with all set the unused shared
// chains that are not in keep ("table chain"). The CNI plugins make them again whenever
// they need them.
func cleanIPTables(ctx context.Context, owned func(line string) bool, keep []string, all bool) error {
	iptables := toolchain.IPTables()
	if iptables == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, table := range natAndFilter {
		saved, err := exec.CommandContext(ctx, iptables+"-save", "-t", table).Output()
		if err != nil {
			return fmt.Errorf("read iptables table %s: %w", table, err)
		}
		removable := func(chain string) bool { return all && !slices.Contains(keep, table+" "+chain) }
		script := purge(string(saved), owned, removable)
		if script == "" {
			continue
		}
		cmd := exec.CommandContext(ctx, iptables+"-restore", "--wait=5", "--noflush")
		cmd.Stdin = strings.NewReader("*" + table + "\n" + script + "COMMIT\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("clean iptables table %s: %w: %s", table, err, out)
		}
	}
	return nil
}

// rule is a line of iptables-save without its "-A ".
type rule string

func (r rule) chain() string { return strings.Fields(string(r))[0] }

// target is the chain or action that the rule goes to, or "".
func (r rule) target() string {
	f := strings.Fields(string(r))
	if i := max(slices.Index(f, "-j"), slices.Index(f, "-g")); i > 0 && i+1 < len(f) {
		return f[i+1]
	}
	return ""
}

// purge turns what iptables-save printed of a table into commands for iptables-restore:
// delete the owned rules, then empty and delete the owned chains and those removable
// shared chains that have no foreign rule.
func purge(saved string, owned func(line string) bool, removable func(chain string) bool) string {
	chains, rules := parseSave(saved)
	var removed []string
	for _, c := range chains {
		if strings.HasPrefix(c, "CNI-") && !slices.Contains(cniShared, c) &&
			slices.ContainsFunc(rules, func(r rule) bool { return (r.chain() == c || r.target() == c) && owned(string(r)) }) {
			removed = append(removed, c)
		}
	}
	if !slices.ContainsFunc(rules, func(r rule) bool { return foreign(r, removed) && !owned(string(r)) }) {
		for _, c := range chains {
			if slices.Contains(cniShared, c) && removable(c) {
				removed = append(removed, c)
			}
		}
	}

	var script strings.Builder
	for _, r := range rules {
		if !slices.Contains(removed, r.chain()) && (slices.Contains(removed, r.target()) || owned(string(r))) {
			script.WriteString("-D " + string(r) + "\n")
		}
	}
	for _, c := range removed {
		script.WriteString("-F " + c + "\n")
	}
	for _, c := range removed {
		script.WriteString("-X " + c + "\n")
	}
	return script.String()
}

// foreign reports whether a rule shows that something else uses the shared chains: the
// plugins add it for an instance, so it is not one of the fixed rules.
func foreign(r rule, removed []string) bool {
	switch r.chain() {
	case "NOMAD-ADMIN":
		return true
	case "CNI-FORWARD":
		return r.target() != "NOMAD-ADMIN"
	case "CNI-HOSTPORT-DNAT":
		return !slices.Contains(removed, r.target())
	}
	return false
}

func parseSave(saved string) (chains []string, rules []rule) {
	for line := range strings.Lines(saved) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, ":"); ok {
			chains = append(chains, strings.Fields(name)[0])
		} else if r, ok := strings.CutPrefix(line, "-A "); ok {
			rules = append(rules, rule(r))
		}
	}
	return chains, rules
}
