package proxy

import "time"

// Bounds of connections, of those from callers and of those to peers.
const (
	// EnvoysIdleTimeout is how long a server keeps idle connections if callers may be Envoys:
	// longer than the hour for which Envoys keep them, so that none is closed under a request.
	EnvoysIdleTimeout = 65 * time.Minute
	// MaxHeaderBytes bounds the header of a request and of an answer.
	MaxHeaderBytes = 64 << 10
	// StreamBuffer bounds what is received ahead on one HTTP/2 stream.
	StreamBuffer = 64 << 10
	// ConnBuffer bounds what is received ahead on one HTTP/2 connection.
	ConnBuffer = 1 << 20
	// DeafAfter is how long an HTTP/2 caller may read nothing of what is sent before its
	// connection is closed. The end of a request can't reach such a caller, so that its
	// requests would last beyond any limit.
	DeafAfter = 30 * time.Second
	// FrameSize bounds one received HTTP/2 frame: a connection on which a frame has begun has
	// memory for all of it. Go's default is 1 MiB; other implementations use this, the least
	// that HTTP/2 allows.
	FrameSize = 16 << 10
)
