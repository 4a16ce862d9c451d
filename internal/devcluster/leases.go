package devcluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// leaseScript stands before the address plugin, whose store Nomad names
// /var/run/cni whatever its configuration says, and puts another in its place.
const leaseScript = `#!/bin/sh
sed 's|"dataDir" *: *"[^"]*"|"dataDir":"%s"|' | exec %s
`

// ownLeases returns a cni_path of the plugins in which the address plugin keeps
// its leases below dir.
//
// In the store that all Nomads of a machine share is one note of the address
// given out last. With two clusters that is mostly the other one's, outside of
// the own subnet, and the plugin begins again at the lowest free address: the
// one that was just freed. For that the machine still has the MAC address of
// the instance before, and the bridge plugin announces no new one
// (containernetworking/plugins, issues 756 and 858): for up to a minute nobody
// reaches the new instance. Alone, a cluster takes its addresses in turn.
func ownLeases(dir, plugins string) (string, error) {
	const plugin = "host-local"
	own := filepath.Join(dir, "cni")
	if err := os.Mkdir(own, 0o755); err != nil {
		return "", fmt.Errorf("make address plugin: %w", err)
	}
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	script := fmt.Sprintf(leaseScript, filepath.Join(dir, "leases"), quote(filepath.Join(plugins, plugin)))
	if err := os.WriteFile(filepath.Join(own, plugin), []byte(script), 0o755); err != nil {
		return "", fmt.Errorf("make address plugin: %w", err)
	}
	return own + string(os.PathListSeparator) + plugins, nil
}
