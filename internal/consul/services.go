package consul

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// watchWait is how long Consul may leave a blocking query unanswered.
const watchWait = time.Minute

// Instance is a registered service instance.
type Instance struct {
	ID      string
	Service string
	Node    string
	Address string // The node's if the service has none.
	Port    int
	Meta    map[string]string
	Passing bool // All its checks and those of its node pass.
}

// Services returns the passing instances of a service. Consul also returns none if the
// token may not read them.
func (c *Client) Services(ctx context.Context, name string) ([]Instance, error) {
	is, _, err := c.services(name, true, present(ctx))
	return is, err
}

// Registered returns all instances of a service, including those with failing checks.
func (c *Client) Registered(ctx context.Context, name string) ([]Instance, error) {
	is, _, err := c.services(name, false, present(ctx))
	return is, err
}

// WatchServices emits the passing instances of a service, now and after every change,
// until ctx ends. report gets every failure.
func (c *Client) WatchServices(ctx context.Context, name string, emit func([]Instance), report func(error)) error {
	return c.watchServices(ctx, name, true, emit, report)
}

// WatchRegistered is [Client.WatchServices] for all instances of a service, including
// those with failing checks.
func (c *Client) WatchRegistered(ctx context.Context, name string, emit func([]Instance), report func(error)) error {
	return c.watchServices(ctx, name, false, emit, report)
}

func (c *Client) watchServices(ctx context.Context, name string, passing bool, emit func([]Instance), report func(error)) error {
	w := Watch[[]Instance]{Report: report}
	w.Fetch = func(ctx context.Context, index uint64) ([]Instance, uint64, error) {
		q, cancel := blocking(ctx, index, watchWait)
		defer cancel()
		return c.services(name, passing, q)
	}
	return w.Run(ctx, emit)
}

// Passing returns the instances whose checks pass.
func Passing(all []Instance) []Instance {
	out := make([]Instance, 0, len(all))
	for _, in := range all {
		if in.Passing {
			out = append(out, in)
		}
	}
	return out
}

func (c *Client) services(name string, passing bool, q *api.QueryOptions) ([]Instance, uint64, error) {
	es, meta, err := c.api().Health().Service(name, "", passing, q)
	if err != nil {
		return nil, 0, Wrap("look up service "+name, err)
	}
	out := make([]Instance, len(es))
	for i, e := range es {
		out[i] = Instance{
			ID: e.Service.ID, Service: e.Service.Service, Node: e.Node.Node,
			Address: e.Service.Address, Port: e.Service.Port, Meta: e.Service.Meta,
			Passing: passing || e.Checks.AggregatedStatus() == api.HealthPassing,
		}
		if out[i].Address == "" {
			out[i].Address = e.Node.Address
		}
	}
	return out, meta.LastIndex, nil
}

func isNotFound(err error) bool { return errors.Is(err, wadi.ErrNotFound) }
