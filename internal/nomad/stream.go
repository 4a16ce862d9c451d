package nomad

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/wadi-run/wadi"
)

// maxLine bounds one line of the event stream. Client updates come in batches: lines of
// half a megabyte are ordinary.
const maxLine = 64 << 20

// event is one event of the stream.
type event struct {
	Topic     string
	Type      string
	Key       string
	Namespace string
	Index     uint64
	Payload   json.RawMessage
}

// change is the content of one event. One of its parts is set, or none.
type change struct {
	index  uint64
	job    *job
	purged bool // The job was purged.
	alloc  *allocation
	eval   *evaluation
}

// namespace is that of the changed object.
func (c change) namespace() string {
	switch {
	case c.job != nil:
		return c.job.Namespace
	case c.alloc != nil:
		return c.alloc.Namespace
	case c.eval != nil:
		return c.eval.Namespace
	}
	return ""
}

// decode reads the content of an event.
func (e event) decode() (change, error) {
	var p struct {
		Job        *job
		Deleted    bool
		Allocation *allocation
		Evaluation *evaluation
	}
	var err error
	c := change{index: e.Index}
	switch e.Topic {
	case "Job", "Allocation", "Evaluation":
		err = json.Unmarshal(e.Payload, &p)
	}
	switch {
	case err != nil:
		return c, fmt.Errorf("event %s %s: %w", e.Topic, e.Key, err)
	case e.Topic == "Job":
		c.job, c.purged = p.Job, p.Deleted
	case e.Topic == "Allocation":
		c.alloc = p.Allocation
	case e.Topic == "Evaluation":
		c.eval = p.Evaluation
	}
	return c, nil
}

// allocation mirrors the part of Nomad's allocation that an endpoint needs, in events and
// lists alike.
type allocation struct {
	ID                 string
	Name               string
	Namespace          string
	JobID              string
	NodeID             string
	DesiredStatus      string
	ClientStatus       string
	DesiredTransition  api.DesiredTransition
	AllocatedResources *struct {
		Shared struct{ Ports []api.PortMapping }
	}
	TaskStates  map[string]*api.TaskState
	CreateTime  int64
	ModifyTime  int64 // By Nomad's servers.
	CreateIndex uint64
	ModifyIndex uint64
}

// evaluation mirrors the part of Nomad's evaluation about failed placements.
type evaluation struct {
	ID             string
	Namespace      string
	JobID          string
	Status         string
	BlockedEval    string
	FailedTGAllocs map[string]*api.AllocationMetric
	ModifyIndex    uint64
}

// errNoHeartbeat reports a token without rights: Nomad answers 200 and then nothing.
var errNoHeartbeat = errors.New("event stream gave no heartbeat: the token may lack read-job in a namespace")

// stream reads Nomad's event stream until ctx or the stream ends, and hands every line's
// events to emit, heartbeats as an empty list. The first line must come within first.
func (c *Client) stream(ctx context.Context, namespace string, first time.Duration, emit func([]event) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(first, func() { cancel(errNoHeartbeat) })
	defer late.Stop()

	q := url.Values{"topic": {"Allocation", "Evaluation", "Job"}, "index": {"0"}}
	body, err := c.streams().Raw().Response("/v1/event/stream?"+q.Encode(), c.query(ctx, c.Token(), namespace))
	if err != nil {
		return streamError(ctx, translate(err))
	}
	defer func() { _ = body.Close() }()

	r := bufio.NewReaderSize(body, 64<<10)
	for {
		line, err := readLine(r)
		if err != nil {
			if errors.Is(err, io.EOF) && late.Stop() {
				err = errNoHeartbeat
			}
			return streamError(ctx, err)
		}
		late.Stop()
		var batch struct{ Events []event }
		if err := json.Unmarshal(line, &batch); err != nil {
			return fmt.Errorf("event stream: %w", err)
		}
		if err := emit(batch.Events); err != nil {
			return err
		}
	}
}

// streamError prefers the reason for giving up the stream to the resulting error.
func streamError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errNoHeartbeat) {
		err = cause
	}
	if errors.Is(err, errNoHeartbeat) {
		return fmt.Errorf("%w: %w", wadi.ErrForbidden, err)
	}
	return fmt.Errorf("event stream: %w", err)
}

// readLine reads a line of any length up to maxLine. It is valid until the next call.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err == nil || !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	long := append([]byte(nil), line...)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = r.ReadSlice('\n')
		if len(long)+len(line) > maxLine {
			return nil, fmt.Errorf("%w: line of more than %d bytes", wadi.ErrTooLarge, maxLine)
		}
		long = append(long, line...)
	}
	return long, err
}
