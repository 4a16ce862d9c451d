package survey

import (
	"fmt"
	"slices"
	"strings"
)

// The oldest versions that Wadi supports.
const (
	OldestNomad  = "1.10"
	OldestConsul = "1.18"
)

// Newer reports whether a version is newer than another. Texts that are no versions are
// neither newer nor older.
func Newer(a, b string) bool {
	x, okA := numbers(a)
	y, okB := numbers(b)
	return okA && okB && slices.Compare(x, y) > 0
}

// Minor is a version's first two numbers; empty: it is no version.
func Minor(version string) string {
	n, ok := numbers(version)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d.%d", n[0], n[1])
}

// numbers are the parts of a version without what follows a + or a -.
func numbers(version string) (out []int, ok bool) {
	version = strings.TrimPrefix(version, "v")
	if i := strings.IndexAny(version, "+-"); i >= 0 {
		version = version[:i]
	}
	for part := range strings.SplitSeq(version, ".") {
		n := 0
		if part == "" || len(part) > 6 {
			return nil, false
		}
		for _, r := range part {
			if r < '0' || r > '9' {
				return nil, false
			}
			n = n*10 + int(r-'0')
		}
		out = append(out, n)
	}
	return out, len(out) >= 2
}

// TooOld are the versions of the servers that Wadi does not support, each once.
func (n Nomad) TooOld() (out []string) {
	for _, s := range n.Servers.Value {
		if Newer(OldestNomad, Minor(s.Version)) && !slices.Contains(out, s.Version) {
			out = append(out, s.Version)
		}
	}
	return out
}

// TooOld is the version of Consul's agent if Wadi does not support it; else empty.
func (c Consul) TooOld() string {
	if v := c.Agent.Value.Version; Newer(OldestConsul, Minor(v)) {
		return v
	}
	return ""
}
