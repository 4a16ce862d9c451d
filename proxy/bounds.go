package proxy

import "time"

// Bounds of connections, of those from callers and of those to peers.
const (
	// EnvoysIdleTimeout is how long a server keeps connections that nobody uses where
	// Envoys may be the callers: longer than the hour for which they do, so that none is
	// closed under a request.
	EnvoysIdleTimeout = 65 * time.Minute
	// MaxHeaderBytes bounds the headers of a request and of an answer.
	MaxHeaderBytes = 64 << 10
	// StreamBuffer bounds what is received ahead on one HTTP/2 stream.
	StreamBuffer = 64 << 10
	// ConnBuffer bounds what is received ahead on one HTTP/2 connection.
	ConnBuffer = 1 << 20
	// DeafAfter is for how long a caller of HTTP/2 may take none of what is sent before its
	// connection ends. It can't be told that a request is over, so that each of its
	// requests would be held beyond any limit.
	DeafAfter = 30 * time.Second
	// FrameSize bounds one frame of HTTP/2 that is received: each connection on which one
	// has begun has memory for all of it. Go offers 1 MiB, all others what this is, the
	// least that may be.
	FrameSize = 16 << 10
)
