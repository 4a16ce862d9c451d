package nomad

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/hashicorp/nomad/api"
)

// The streams of a task.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// MaxLogs is how many logs may be open at a time: each occupies a connection, and Nomad
// permits 100 of one address.
const MaxLogs = 64

// Logs reads what tasks have written, with the token of its Config. The Nomad agent that
// it asks passes the request on to the task's node, so that a right to the namespace is
// enough.
type Logs struct {
	api   *api.Client
	token string
}

// Instance is an allocation of a job, as a reader of its logs sees it.
type Instance struct {
	ID, Job string
	Created int64           // Unix nanoseconds.
	Ended   bool            // It writes nothing any more.
	Tasks   map[string]bool // By name: it has started. Empty before the node knows of it.
}

// Log is one log of a task.
type Log struct {
	Namespace, Instance, Task string
	Stream                    string // Stdout or Stderr.
	Follow                    bool   // Wait for more at the end of it.
	Tail                      int64  // Only this many bytes of the end; 0: what is new; below zero: all.
}

// NewLogs returns a reader of logs. It doesn't call Nomad.
func NewLogs(c Config) (*Logs, error) {
	u, err := url.Parse(c.Address)
	if err != nil {
		return nil, fmt.Errorf("nomad address %q: %w", c.Address, err)
	}
	t, err := transport(u, c, MaxLogs+2)
	if err != nil {
		return nil, fmt.Errorf("nomad tls: %w", err)
	}
	t.ResponseHeaderTimeout = 0 // Nomad sends the header with the first byte of the log, which may be long in coming.
	a, err := api.NewClient(&api.Config{Address: c.Address, Region: c.Region, HttpClient: &http.Client{Transport: t}})
	if err != nil {
		return nil, fmt.Errorf("nomad client: %w", err)
	}
	return &Logs{api: a, token: c.Token}, nil
}

func (l *Logs) query(ctx context.Context, namespace string, params map[string]string) *api.QueryOptions {
	return (&api.QueryOptions{AuthToken: l.token, Namespace: namespace, Params: params}).WithContext(ctx)
}

// Instances lists the allocations of a job that Nomad still knows, oldest first. A job that
// there is not has none.
func (l *Logs) Instances(ctx context.Context, namespace, job string) ([]Instance, error) {
	var all []allocation
	path := "/v1/job/" + url.PathEscape(job) + "/allocations"
	if _, err := l.api.Raw().Query(path, &all, l.query(ctx, namespace, nil)); err != nil {
		return nil, fmt.Errorf("list instances of %s: %w", job, translate(err))
	}
	out := make([]Instance, 0, len(all))
	for _, a := range all {
		i := Instance{ID: a.ID, Job: a.JobID, Created: a.CreateTime, Ended: ended(a), Tasks: map[string]bool{}}
		for name, s := range a.TaskStates {
			i.Tasks[name] = s != nil && !s.StartedAt.IsZero()
		}
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b Instance) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

// Open returns the text of a log, which the caller closes. It ends with ctx.
func (l *Logs) Open(ctx context.Context, log Log) (io.ReadCloser, error) {
	params := map[string]string{
		"task": log.Task, "type": log.Stream, "follow": strconv.FormatBool(log.Follow),
		"plain": "true", "origin": "start", "offset": "0",
	}
	if log.Tail >= 0 {
		// To Nomad, an end of 0 bytes is the whole last file: the end begins with the last byte.
		params["origin"], params["offset"] = "end", strconv.FormatInt(max(log.Tail, 1), 10)
	}
	path := "/v1/client/fs/logs/" + url.PathEscape(log.Instance)
	body, err := l.api.Raw().Response(path, l.query(ctx, log.Namespace, params))
	if err != nil {
		return nil, fmt.Errorf("%s of task %s in instance %s: %w", log.Stream, log.Task, log.Instance, translate(err))
	}
	if log.Tail == 0 {
		return &afterNewline{ReadCloser: body}, nil
	}
	return body, nil
}

// afterNewline leaves out a newline at the start, which ends a line that is not new.
type afterNewline struct {
	io.ReadCloser
	begun bool
}

// Read implements io.Reader.
func (r *afterNewline) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if !r.begun && n > 0 {
		if r.begun = true; p[0] == '\n' {
			n = copy(p, p[1:n])
		}
	}
	return n, err
}
