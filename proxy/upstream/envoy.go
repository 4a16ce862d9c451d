package upstream

import (
	"errors"
	"io"
	"net/http"
	"strings"
)

// An Envoy in front of a peer answers in the peer's place when it does not reach the peer or
// loses the connection. To the peer's own answers it adds how long they took; the peer can't
// prevent that.
const (
	headerServiceTime = "X-Envoy-Upstream-Service-Time"
	maxEnvoysText     = 1 << 10 // Bytes; its texts are shorter.
)

var (
	// errNotReached: the peer has not got the request.
	errNotReached = &refusedError{errors.New("the Envoy in front of the peer does not reach it")}
	// errCutOff: the peer may have got it.
	errCutOff = errors.New("the Envoy in front of the peer lost the connection to it")
)

// envoysFault is the fault that an Envoy's own answer describes; nil: it describes none.
func envoysFault(text string) error {
	about, reason, _ := strings.Cut(text, " reset reason: ")
	if !strings.HasPrefix(about, "upstream connect error or disconnect/reset before headers") {
		return nil
	}
	reason, _, _ = strings.Cut(reason, ",")
	switch strings.TrimSpace(reason) {
	case "connection failure", "remote connection failure", "local connection failure", "connection timeout", "overflow":
		return errNotReached
	case "connection termination":
		return errCutOff
	}
	return nil
}

// envoysFault is the fault if the answer is an Envoy's own; else nil. The bytes of the answer
// stay in the buffer.
func (a *http1Answer) envoysFault() error {
	h := &a.conn.head
	if !a.up.cfg.Envoy || h.status != http.StatusServiceUnavailable || h.get(headerServiceTime) != "" || h.length <= 0 || h.length > maxEnvoysText || !h.hasBody(a.r.Method) {
		return nil
	}
	for int64(len(a.conn.buffered())) < h.length {
		if a.conn.fill() != nil {
			return nil // It comes again.
		}
	}
	return envoysFault(string(a.conn.buffered()[:h.length]))
}

// envoysFault is the same for an answer over HTTP/2. The answer to a gRPC call has the text
// in Grpc-Message.
func (f *forward) envoysFault(res *http.Response) error {
	if !f.upstream.cfg.Envoy || res.Header.Get(headerServiceTime) != "" {
		return nil
	}
	if text := res.Header.Get("Grpc-Message"); text != "" {
		return envoysFault(text)
	}
	if res.StatusCode != http.StatusServiceUnavailable || res.ContentLength <= 0 || res.ContentLength > maxEnvoysText {
		return nil
	}
	text := make([]byte, res.ContentLength)
	n, err := io.ReadFull(res.Body, text)
	if err == nil {
		err = envoysFault(string(text))
	} else {
		err = nil // It comes again.
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(strings.NewReader(string(text[:n])), res.Body), res.Body}
	return err
}
