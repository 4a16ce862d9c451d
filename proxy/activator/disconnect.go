package activator

import (
	"context"
	"net"
	"net/http"
	"syscall"

	"github.com/wadi-run/wadi/proxy/hangup"
)

// connKey is the context's key of a request's connection.
type connKey struct{}

// ConnContext is for the servers in front of the activator: with it, a request leaves the
// queue soon after its client has gone even if it has a body. While a body is unread
// net/http doesn't check the connection.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	raw := hangup.RawConn(c)
	if raw == nil {
		return ctx
	}
	return context.WithValue(ctx, connKey{}, raw)
}

// unwatched returns the connection of r if net/http doesn't watch it, and nil if it does.
func unwatched(r *http.Request) syscall.RawConn {
	if r.ProtoMajor != 1 || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	raw, _ := r.Context().Value(connKey{}).(syscall.RawConn)
	return raw
}
