package devcluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Environment is inherited by the children of a cluster, and through them by raw_exec
// tasks: the parent's environment without settings that would point them at another cluster.
func Environment(dir, mark string, path []string) ([]string, error) {
	tmp := filepath.Join(dir, "t")
	if err := os.MkdirAll(tmp, 0o777); err != nil {
		return nil, fmt.Errorf("make temporary directory: %w", err)
	}
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil {
		return nil, fmt.Errorf("make temporary directory: %w", err)
	}
	var env []string
	for _, kv := range os.Environ() {
		key, _, _ := strings.Cut(kv, "=")
		if key == "PATH" || key == "TMPDIR" || strings.HasPrefix(key, "NOMAD_") ||
			strings.HasPrefix(key, "CONSUL_") || strings.HasPrefix(key, "WADI_") {
			continue
		}
		env = append(env, kv)
	}
	dirs := append(append([]string{}, path...), filepath.SplitList(os.Getenv("PATH"))...)
	dirs = append(dirs, "/usr/sbin", "/sbin") // For iptables.
	return append(env,
		"PATH="+strings.Join(dirs, string(os.PathListSeparator)),
		"TMPDIR="+tmp, // For the sockets of Nomad's plugins.
		mark,
	), nil
}
