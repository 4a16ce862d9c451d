package slot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// leaseScript runs the address plugin with another store: Nomad names /var/run/cni
// whatever its configuration says.
const leaseScript = `#!/bin/sh
sed 's|"dataDir" *: *"[^"]*"|"dataDir":"%s"|' | exec %s
`

// OwnLeases returns a cni_path of the CNI plugins in the directory plugins, with which
// the address plugin keeps its leases below the slot's Dir: one store for each node.
//
// All Nomads of a machine share one store otherwise, with one note of the address that
// was given out last. With two clusters that is mostly an address of the other one,
// outside of the own subnet, and the plugin begins again at the lowest free address:
// the one that was just freed. For that address the machine still has the MAC address
// of the previous instance, and the bridge plugin announces no new one
// (containernetworking/plugins, issues 756 and 858): the new instance can't be reached
// for up to a minute. With a store of its own a cluster takes its addresses in turn.
func (s *Slot) OwnLeases(plugins, node string) (string, error) {
	const plugin = "host-local"
	own := filepath.Join(s.Dir, "cni"+node)
	if err := os.Mkdir(own, 0o755); err != nil {
		return "", fmt.Errorf("make address plugin: %w", err)
	}
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	script := fmt.Sprintf(leaseScript, filepath.Join(s.Dir, "leases"+node), quote(filepath.Join(plugins, plugin)))
	if err := os.WriteFile(filepath.Join(own, plugin), []byte(script), 0o755); err != nil {
		return "", fmt.Errorf("make address plugin: %w", err)
	}
	return own + string(os.PathListSeparator) + plugins, nil
}
