package nomad

import (
	"context"
	"fmt"
	"net/url"

	"github.com/wadi-run/wadi"
)

// The keys in a job's meta that distinguish Wadi's own jobs from copies of them.
const (
	MetaRevision     = "wadi_revision"
	MetaInstallation = "wadi_installation"
)

// OwnedJobs lists the revisions' jobs that an installation of Wadi has registered and that
// are not stopped, in all namespaces that the agent's own token may list. A copy under
// another ID is not listed, nor is a job without an installation, of an earlier Wadi.
func (c *Client) OwnedJobs(ctx context.Context, installation string) ([]Job, error) {
	if installation == "" {
		return nil, nil
	}
	q := c.query(ctx, c.Token(), everywhere)
	q.Filter = fmt.Sprintf("Meta.%s == %q", MetaInstallation, installation)
	var all []job
	path := "/v1/jobs?" + url.Values{"meta": {"true"}}.Encode()
	if _, err := c.api().Raw().Query(path, &all, q); err != nil {
		return nil, fmt.Errorf("list Wadi's own jobs: %w", translate(err))
	}
	var out []Job
	for _, j := range all {
		service, _, ok := wadi.SplitRevisionID(j.ID)
		if ok && !j.Stop && j.Meta[MetaService] == service && j.Meta[MetaRevision] == j.ID && j.Meta[MetaInstallation] == installation {
			out = append(out, j.export())
		}
	}
	return out, nil
}
