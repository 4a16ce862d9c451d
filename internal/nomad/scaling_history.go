package nomad

import (
	"context"
	"net/url"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
)

// Scaling is an entry of a job's scaling history.
type Scaling struct {
	Time  time.Time // Zero: there is no entry.
	Count int
	Meta  map[string]any
}

// LastScaling reads the latest entry of the scaling history of a revision's job.
func (c *Client) LastScaling(ctx context.Context, namespace, id string) (Scaling, error) {
	var answer api.JobScaleStatusResponse
	if _, err := c.api().Raw().Query("/v1/job/"+url.PathEscape(id)+"/scale", &answer, c.query(ctx, c.Token(), namespace)); err != nil {
		return Scaling{}, translate(err)
	}
	var last Scaling
	for _, e := range answer.TaskGroups[wadi.GroupInstance].Events {
		at := time.Unix(0, int64(e.Time))
		if e.Count != nil && !e.Error && at.After(last.Time) {
			last = Scaling{Time: at, Count: int(*e.Count), Meta: e.Meta}
		}
	}
	return last, nil
}
