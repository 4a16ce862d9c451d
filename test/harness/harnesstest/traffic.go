package harnesstest

import (
	"fmt"
	"strings"
)

// Traffic renders a traffic block for each of "90 latest" or "0 split-00001 old": percent,
// revision, and a tag if there is one.
func Traffic(targets ...string) string {
	var b strings.Builder
	for _, text := range targets {
		f := append(strings.Fields(text), "")
		fmt.Fprintf(&b, "traffic {\n    percent  = %s\n    revision = %q\n", f[0], f[1])
		if f[2] != "" {
			fmt.Fprintf(&b, "    tag      = %q\n", f[2])
		}
		b.WriteString("  }\n  ")
	}
	return b.String()
}
