//go:build e2e

package attacks_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	nomad "github.com/hashicorp/nomad/api"
)

// encoded is the body that submits a source.
func encoded(source string) string {
	b, _ := json.Marshal(submission(source))
	return string(b)
}

func allNamespaces() *nomad.QueryOptions { return &nomad.QueryOptions{Namespace: "*"} }

// logs are the logs of all agents, of Wadi, Nomad and Consul, by file.
func logs(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, dir := range []string{stack.Dir, stack.Cluster.Dir} {
		entries, err := os.ReadDir(dir)
		must(t, "list logs", err)
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".log") {
				continue
			}
			b, err := os.ReadFile(dir + "/" + e.Name())
			must(t, "read a log", err)
			out[e.Name()] = string(b)
		}
	}
	return out
}
