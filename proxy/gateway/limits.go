package gateway

import (
	"cmp"
	"time"
)

// Limits bound the connections of a listener. A zero field means the default.
type Limits struct {
	MaxHeaderBytes    int           // Of each request; 64 KiB. Longer headers are answered 431.
	ReadHeaderTimeout time.Duration // For the TLS handshake, and from a request's first byte to the end of its headers; 10 s.
	IdleTimeout       time.Duration // Between requests, and before the first; 2 min.
	MaxConns          int           // Open at once, upgraded ones included; 20,000. Idle ones are evicted for new ones.
	MaxStreams        int           // Requests at once on one HTTP/2 connection; 250.
	StreamBuffer      int           // Bytes received ahead on one HTTP/2 stream; 64 KiB.
	ConnBuffer        int           // The same of all streams of a connection; 1 MiB.
}

// withDefaults sets the default of every zero field.
func (b Limits) withDefaults() Limits {
	return Limits{
		MaxHeaderBytes:    cmp.Or(b.MaxHeaderBytes, 64<<10),
		ReadHeaderTimeout: cmp.Or(b.ReadHeaderTimeout, 10*time.Second),
		IdleTimeout:       cmp.Or(b.IdleTimeout, 2*time.Minute),
		MaxConns:          cmp.Or(b.MaxConns, 20_000),
		MaxStreams:        cmp.Or(b.MaxStreams, 250),
		StreamBuffer:      cmp.Or(b.StreamBuffer, 64<<10),
		ConnBuffer:        cmp.Or(b.ConnBuffer, 1<<20),
	}
}
