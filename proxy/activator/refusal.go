package activator

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/deadline"
)

// HeaderError is the header of Wadi's own answers that has their code. An app's answers
// never have it.
const HeaderError = wadi.HeaderError

// Codes of refusals, the values of HeaderError.
const (
	CodeNoHost         = "unknown_host"
	CodeNoTarget       = "no_target"
	CodeNoRevision     = "unknown_revision"
	CodeFailed         = "revision_failed"
	CodeQueueFull      = "queue_full"
	CodeQueueTimeout   = "queue_timeout"
	CodeRequestTimeout = "request_timeout"
	CodeUnplaceable    = "unplaceable"
	CodeNotWoken       = "not_woken" // Wakes failed until the wait expired.
	CodeQuiet          = "at_zero"
	CodeBadBody        = "bad_body"
	CodeUpstream       = "instance_failed"
	CodeClientGone     = "client_gone"
	CodeShutdown       = "shutting_down"
	CodeDenied         = "denied"             // The caller may not call the service.
	CodeUnjudged       = "intentions_unknown" // It is unknown for now whether it may.
)

// discardBytes is how much of a body is still read after its answer, at most.
const discardBytes = 256 << 10

// statusClientGone is logged and counted for a client that has gone. No client gets it.
const statusClientGone = 499

// Refusal is an answer that Wadi gives itself.
type Refusal struct {
	Status     int
	Code       string        // For programs; one of the codes above.
	Message    string        // For people; one line. It is for any caller.
	Inside     string        // The message for callers in the mesh, with what Nomad says; empty: Message.
	RetryAfter time.Duration // Rounded up to seconds; 0 leaves the header out.
}

// Error makes a Refusal an error.
func (f Refusal) Error() string { return f.Message }

// inside is f as callers in the mesh get it.
func (f Refusal) inside() Refusal {
	f.Message = cmp.Or(f.Inside, f.Message)
	return f
}

// isOutcome reports whether f is an outcome of the revision that was called: what its callers
// get in place of an answer of an instance. What an instance has answered is not refused here, so
// each request counts once. A request that is the caller's fault or the agent's is none, nor is
// one for a revision that is served no more.
func (f Refusal) isOutcome() bool {
	switch f.Code {
	case CodeFailed, CodeQueueFull, CodeQueueTimeout, CodeRequestTimeout, CodeUnplaceable, CodeNotWoken, CodeUpstream, CodeClientGone:
		return true
	}
	return false
}

// Refuse answers with f: as text, as JSON to clients that prefer it, or to a gRPC call
// with the code that stands for the status.
func Refuse(w http.ResponseWriter, r *http.Request, f Refusal) {
	deadline.EndUnread(w, r)
	h := w.Header()
	h.Set(HeaderError, f.Code)
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((f.RetryAfter+time.Second-1)/time.Second)))
	}
	if proxy.RefuseGRPC(w, r, f.Status, f.Message) {
		return
	}
	body := []byte(f.Message + "\n")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if prefersJSON(r.Header.Values("Accept")) {
		h.Set("Content-Type", "application/json")
		body, _ = json.Marshal(map[string]string{"error": f.Message, "code": f.Code}) // A map of strings always marshals.
		body = append(body, '\n')
	}
	h.Set("X-Content-Type-Options", "nosniff")
	answer(w, r, f.Status, body)
}

// answer sends a whole answer, whatever there is of r's body.
func answer(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if slowBody(r) {
		_ = http.NewResponseController(w).EnableFullDuplex() // Else the body would be read first.
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // The client may have gone.
	if err := discard(w, r); err != nil {
		// The bytes after a broken body are no request. The whole answer has been sent,
		// so that nothing is lost with the connection.
		panic(http.ErrAbortHandler)
	}
}

// slowBody reports whether r has a body that net/http would read, however slow
// it comes, before it sends an answer.
func slowBody(r *http.Request) bool {
	return r.ProtoMajor == 1 && r.Body != nil && r.Body != http.NoBody
}

// discard sends what is answered so far, and reads the rest of r's body, so that the
// connection can be used again. It gives up where the rest is long or slow, and the
// connection closes. net/http would wait without a bound, and fails at the body's end when
// it finds that after a full-duplex answer. After an error the connection can't be used
// again.
func discard(w http.ResponseWriter, r *http.Request) error {
	if !slowBody(r) {
		return nil
	}
	deadline.EndUnread(w, r)
	_ = http.NewResponseController(w).Flush() // What fails here fails again below.
	if _, err := io.CopyN(io.Discard, r.Body, discardBytes); err != nil && err != io.EOF {
		return err
	}
	return nil
}

// prefersJSON reports whether accept ranks application/json above plain text.
// A wildcard counts as a preference for text.
func prefersJSON(accept []string) bool {
	js, text := -1.0, 0.0
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, params, _ := strings.Cut(part, ";")
		q := quality(params)
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "application/json":
			js = max(js, q)
		case "text/plain", "text/*", "text/html":
			text = max(text, q)
		}
	}
	return js > 0 && js > text
}

// quality reads the q parameter of one part of an Accept header; 1 if there is none.
func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		k, v, ok := strings.Cut(strings.TrimSpace(p), "=")
		if !ok || !strings.EqualFold(k, "q") {
			continue
		}
		if q, err := strconv.ParseFloat(v, 64); err == nil {
			return q
		}
	}
	return 1
}
