package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// HeaderIndex is the header with the index of what an answer shows. A later read with that index
// waits until there is another.
const HeaderIndex = "X-Wadi-Index"

// Query makes a read wait for a change. The zero value reads the present state.
type Query struct {
	Index uint64        // Of the last answer; 0: don't wait.
	Wait  time.Duration // For a change, at most, and a sixteenth of it more; 0: five minutes.
}

func (q Query) values() url.Values {
	out := url.Values{}
	if q.Index > 0 {
		out.Set("index", strconv.FormatUint(q.Index, 10))
	}
	if q.Wait > 0 {
		out.Set("wait", q.Wait.String())
	}
	return out
}

// ServiceAt returns one service, and the index to wait from next time; 0: the agent tells none, or
// the index went back, because Consul was restored.
func (c *Client) ServiceAt(ctx context.Context, name string, q Query) (Service, uint64, error) {
	return readAt[Service](ctx, c, "/v1/service/"+url.PathEscape(name), q)
}

// ServicesAt lists the services that the token may read, and the index as that of
// [Client.ServiceAt].
func (c *Client) ServicesAt(ctx context.Context, q Query) ([]ServiceSummary, uint64, error) {
	return readAt[[]ServiceSummary](ctx, c, "/v1/services", q)
}

func readAt[T any](ctx context.Context, c *Client, path string, q Query) (T, uint64, error) {
	out, header, err := callHeader[T](ctx, c, http.MethodGet, path, q.values(), nil)
	if err != nil {
		return out, 0, err
	}
	next, _ := strconv.ParseUint(header.Get(HeaderIndex), 10, 64) // Older agents have none.
	if next < q.Index {
		next = 0
	}
	return out, next, nil
}
