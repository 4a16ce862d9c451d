package nomad

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/nomad/api"
)

// ServerVersions returns the versions of Nomad's servers in the region, by name. The token needs the
// right to read nodes.
func (c *Client) ServerVersions(ctx context.Context) (map[string]string, error) {
	var all api.ServerMembers
	if _, err := c.api().Raw().Query("/v1/agent/members", &all, c.query(ctx, c.Token(), "")); err != nil {
		return nil, fmt.Errorf("read the versions of Nomad's servers: %w", translate(err))
	}
	out := map[string]string{}
	for _, m := range all.Members {
		if m != nil && m.Status != "left" && m.Tags["region"] == all.ServerRegion { // Joined regions are among the members.
			out[m.Name] = m.Tags["build"]
		}
	}
	return out, nil
}

// EnforcesIndex reports whether a Nomad of that version accepts only one of two changes of a job
// that name the same index and arrive at the same moment. Before 2.0.1 it may accept both.
// known is false for a text that is no version.
func EnforcesIndex(version string) (enforces, known bool) {
	number, _, _ := strings.Cut(version, "+")
	number, before, _ := strings.Cut(number, "-")
	parts := strings.Split(number, ".")
	if len(parts) != 3 {
		return false, false
	}
	var n [3]int
	for i, p := range parts {
		v, err := strconv.Atoi(p)
		if err != nil || v < 0 {
			return false, false
		}
		n[i] = v
	}
	first := [3]int{2, 0, 1}
	for i := range n {
		if n[i] != first[i] {
			return n[i] > first[i], true
		}
	}
	return before == "", true
}
