package activator

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
)

// SendOrder orders an instance to go or to stay, and returns its answer. It uses the
// traffic path and the activator's identity: an instance takes orders of nothing else. The
// error is wadi.ErrNotFound, wrapped, if the revision is not routed, and wadi.ErrNoOrders
// if the instance takes none.
func (a *Activator) SendOrder(ctx context.Context, ep wadi.Endpoint, order wadi.Order) (wadi.OrderAnswer, error) {
	r := (*a.revisions.Load())[ep.Revision]
	if r == nil {
		return wadi.OrderAnswer{}, fmt.Errorf("order %s: %w", ep.Revision, wadi.ErrNotFound)
	}
	i := newInstance(r, ep, time.Now())
	defer i.upstream.Close()
	answer, err := i.sendOrder(ctx, order)
	if err != nil {
		return wadi.OrderAnswer{}, fmt.Errorf("order instance %s to %s: %w", ep.Instance, order, err)
	}
	return answer, nil
}

// orderRequest is a probe with an order.
func (i *instance) orderRequest(ctx context.Context, order wadi.Order) (*http.Request, error) {
	req, err := newProbe(ctx, i.r.service, i.ep)
	if err != nil {
		return nil, err
	}
	for name, values := range i.header() {
		req.Header[name] = values
	}
	req.Header.Set(wadi.HeaderOrder, string(order))
	return req, nil
}

// sendOrder sends an order over a connection of its own: orders are few.
func (i *instance) sendOrder(ctx context.Context, order wadi.Order) (wadi.OrderAnswer, error) {
	req, err := i.orderRequest(ctx, order)
	if err != nil {
		return wadi.OrderAnswer{}, err
	}
	if i.r.protocol.HTTP2() {
		cc, err := i.upstream.Open(ctx)
		if err != nil {
			return wadi.OrderAnswer{}, err
		}
		defer func() { _ = cc.Close() }() // Nothing else is on it.
		res, err := cc.RoundTrip(req)
		if err != nil {
			return wadi.OrderAnswer{}, err
		}
		return orderAnswer(res)
	}
	c, err := i.r.a.cfg.Dialer.Dial(ctx, i.ep)
	if err != nil {
		return wadi.OrderAnswer{}, err
	}
	defer closeConn(c)
	return sendOrderOver(ctx, c, req)
}

// sendOrderOver sends an order over HTTP/1.1.
func sendOrderOver(ctx context.Context, c net.Conn, req *http.Request) (wadi.OrderAnswer, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) }) // Can't fail but on a closed connection.
	defer stop()
	req.Close = true
	if err := req.Write(c); err != nil {
		return wadi.OrderAnswer{}, err
	}
	res, err := http.ReadResponse(bufio.NewReaderSize(c, 1<<10), req)
	if err != nil {
		return wadi.OrderAnswer{}, err
	}
	return orderAnswer(res)
}

// orderAnswer reads the answer to an order, and closes it.
func orderAnswer(res *http.Response) (answer wadi.OrderAnswer, err error) {
	defer func() { _ = res.Body.Close() }() // It was only read.
	switch {
	case res.StatusCode == http.StatusForbidden, res.StatusCode == http.StatusOK && res.Header[wadi.HeaderOrder] == nil:
		return answer, wadi.ErrNoOrders
	case res.StatusCode != http.StatusOK:
		return answer, fmt.Errorf("status %d: %s", res.StatusCode, wadi.OneLine(res.Header.Get(wadi.HeaderUnready), maxUnready))
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxProbeBody)).Decode(&answer); err != nil {
		return wadi.OrderAnswer{}, fmt.Errorf("its answer: %w", err)
	}
	return answer, nil
}
