package survey

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

// maxInstances is how many instances, the newest ones, are read for their pulls.
const maxInstances = 1000

// Pull is an image that a node has pulled for an instance that started with it.
type Pull struct {
	Node, NodeName string
	Image          string
	At             time.Time // By the node's clock.
}

// Pulls reads which images were pulled for instances that Nomad still knows: those of the last
// hours.
func Pulls(ctx context.Context, r Reader) Known[[]Pull] {
	type event struct {
		Type, DisplayMessage string
		Time                 int64
		Details              map[string]string
	}
	type allocation struct {
		NodeID, NodeName string
		TaskStates       map[string]*struct{ Events []event }
	}
	path := filtered("/v1/allocations", `TaskGroup == "`+wadi.GroupInstance+`"`, "namespace", "*", "reverse", "true", "per_page", strconv.Itoa(maxInstances))
	return ask(ctx, r, path, func(all []allocation) (out []Pull) {
		for _, a := range all {
			for _, state := range a.TaskStates {
				if state == nil {
					continue
				}
				var last *Pull
				for _, e := range state.Events {
					switch {
					case strings.HasPrefix(e.DisplayMessage, "Downloading image") && e.Details["image"] != "":
						last = &Pull{Node: a.NodeID, NodeName: a.NodeName, Image: e.Details["image"], At: time.Unix(0, e.Time)}
					case e.Type == "Started" && last != nil: // Else the pull failed, and was tried again.
						out, last = append(out, *last), nil
					}
				}
			}
		}
		return out
	})
}
