package nomad

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/wadi-run/wadi"
)

// InstalledJob is the job of a revision, or the one that fetches its images, that some
// installation of Wadi has registered.
type InstalledJob struct {
	Namespace, ID, Service string
	Installation           string
	Submitted              time.Time // By Nomad's clock.
}

// InstalledJobs lists the jobs of revisions and of their images, of all installations of Wadi that are not stopped, in
// all namespaces that the agent's own token may list. Copies under other IDs are left out.
func (c *Client) InstalledJobs(ctx context.Context) ([]InstalledJob, error) {
	q := c.query(ctx, c.Token(), everywhere)
	q.Filter = fmt.Sprintf("%q in Meta", MetaInstallation)
	var all []struct {
		job
		SubmitTime int64
	}
	path := "/v1/jobs?" + url.Values{"meta": {"true"}}.Encode()
	if _, err := c.api().Raw().Query(path, &all, q); err != nil {
		return nil, fmt.Errorf("list the jobs of all installations: %w", translate(err))
	}
	var out []InstalledJob
	for _, j := range all {
		service, _, ok := wadi.SplitRevisionID(j.ID)
		runs := ok && j.Meta[MetaService] == service && j.Meta[MetaRevision] == j.ID
		if !j.Stop && (runs || fetches(j.job)) {
			out = append(out, InstalledJob{Namespace: j.Namespace, ID: j.ID, Service: j.Meta[MetaService],
				Installation: j.Meta[MetaInstallation], Submitted: time.Unix(0, j.SubmitTime)})
		}
	}
	return out, nil
}
