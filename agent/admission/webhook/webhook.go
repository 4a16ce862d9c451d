// Package webhook asks outside services whether a service may be submitted, and how to
// change it.
//
// It promises that a webhook gets no token, that a question takes no longer than its
// timeout, that no answer is larger than MaxAnswer, and that a missing answer is never
// taken for a permission. It follows no redirect and asks once. It refuses to judge what a
// patch makes of a service: that is admission's.
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/wadi-run/wadi"
)

const (
	// MaxAnswer bounds an answer, in bytes.
	MaxAnswer = 1 << 20
	// maxMessage bounds the text that is shown of an answer, in characters.
	maxMessage = 500
	// maxConns bounds the connections to one webhook: as many as submissions are evaluated
	// at once.
	maxConns = 8
)

// Config is what New needs. Name, URL and Timeout are required, and checked by the agent's
// configuration.
type Config struct {
	Name    string
	URL     string        // https, or http of this machine.
	Mutate  bool          // It may change services. Else it only judges.
	Require bool          // Without an answer the submission is refused. Else the webhook is skipped.
	Timeout time.Duration // Of one question.

	CAFile   string // Of the webhook's certificate; empty: the system's.
	CertFile string // Client certificate; empty: none.
	KeyFile  string

	Metrics *Metrics // Nil: nothing is counted.
}

// Webhook is one outside webhook. It may be used concurrently.
type Webhook struct {
	Config
	client *http.Client
}

// New returns a webhook, or an error if its files can't be used.
func New(c Config) (*Webhook, error) {
	tlsConfig, err := c.tls()
	if err != nil {
		return nil, fmt.Errorf("admission webhook %q: %w", c.Name, err)
	}
	return &Webhook{Config: c, client: &http.Client{
		Transport: &http.Transport{
			// No proxy of the environment: a spec may hold secrets.
			DialContext:            (&net.Dialer{Timeout: c.Timeout}).DialContext,
			TLSClientConfig:        tlsConfig,
			TLSHandshakeTimeout:    c.Timeout,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // An answer must not grow when it is unpacked.
			MaxConnsPerHost:        maxConns,
			MaxIdleConnsPerHost:    maxConns,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close closes the idle connections.
func (w *Webhook) Close() { w.client.CloseIdleConnections() }

// Question is what a webhook is asked. It becomes the body of the request.
type Question struct {
	Service  json.RawMessage `json:"service"`  // As GET /v1/service/NAME shows it, without the instance.
	Instance json.RawMessage `json:"instance"` // Nomad's task group.
	Images   []wadi.Image    `json:"images"`   // Of its tasks and the agent's, with digests; null before they are known.
	User     string          `json:"user"`     // Name of the caller's Nomad token; empty: unknown.
	DryRun   bool            `json:"dry_run"`  // Nothing will be stored.
}

// Answer is what a webhook says.
type Answer struct {
	Allowed bool
	Message string // One line for people; may be empty.

	// Service and Instance are the question's, changed by the answer's patch. Changed is
	// false, and both are as they were, without a patch.
	Service, Instance json.RawMessage
	Changed           bool
}

// Failure says that a webhook gave no usable answer. Its text is for callers: it names no
// address and quotes nothing of the answer.
type Failure struct {
	Webhook string
	Reason  string
	Err     error // For the log; may be nil.
}

// Error implements error.
func (f *Failure) Error() string {
	return fmt.Sprintf("admission webhook %q gives no usable answer: %s; the agent's log says more", f.Webhook, f.Reason)
}

// Unwrap makes it a backend that is away.
func (f *Failure) Unwrap() error { return wadi.ErrUnavailable }

// Ask asks the webhook once. The error is a [*Failure], or that of ctx if it has ended.
func (w *Webhook) Ask(ctx context.Context, q Question) (Answer, error) {
	began := time.Now()
	a, err := w.ask(ctx, q)
	if ctx.Err() != nil {
		return Answer{}, context.Cause(ctx) // The caller's time is over, not the webhook's.
	}
	w.Metrics.observe(w.Name, a, err, time.Since(began))
	return a, err
}

func (w *Webhook) ask(ctx context.Context, q Question) (Answer, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return Answer{}, w.failure("it can't be asked", err)
	}
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	text, err := w.post(ctx, body)
	var failure *Failure
	switch {
	case errors.As(err, &failure):
		return Answer{}, failure
	case timedOut(err):
		return Answer{}, w.failure(fmt.Sprintf("it took longer than %s", w.Timeout), err)
	case err != nil:
		return Answer{}, w.failure(unreachable(err), err)
	}
	return w.read(q, text)
}

// post sends the question, and returns the body of the answer.
func (w *Webhook) post(ctx context.Context, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}, "User-Agent": {"wadi"}}
	answer, err := w.client.Do(r)
	if with := (*url.Error)(nil); errors.As(err, &with) {
		err = with.Err // Without the address, which may hold a key.
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, w.failure(fmt.Sprintf("its status is %d, not 200", answer.StatusCode), nil)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, MaxAnswer+1))
	if err == nil && len(text) > MaxAnswer {
		return nil, w.failure(fmt.Sprintf("it has more than %d bytes", MaxAnswer), nil)
	}
	return text, err
}

// read reads an answer, and applies its patch.
func (w *Webhook) read(q Question, text []byte) (Answer, error) {
	var said struct {
		Allowed *bool           `json:"allowed"`
		Message string          `json:"message"`
		Patch   json.RawMessage `json:"patch"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return Answer{}, w.failure("it is not the JSON of an answer", err)
	}
	if said.Allowed == nil {
		return Answer{}, w.failure(`it lacks "allowed"`, nil)
	}
	out := Answer{
		Allowed: *said.Allowed, Message: wadi.OneLine(said.Message, maxMessage),
		Service: q.Service, Instance: q.Instance,
	}
	operations, err := decode(said.Patch)
	switch {
	case !out.Allowed:
		return out, nil
	case err != nil:
		return Answer{}, w.failure("its patch can't be applied", err)
	case len(operations) == 0:
		return out, nil
	case !w.Mutate:
		return Answer{}, w.failure(`it has a patch, and kind is "validate"`, nil)
	}
	if out.Service, out.Instance, err = patch(q, operations); err != nil {
		return Answer{}, w.failure("its patch can't be applied", err)
	}
	out.Changed = !bytes.Equal(out.Service, q.Service) || !bytes.Equal(out.Instance, q.Instance)
	return out, nil
}

func (w *Webhook) failure(reason string, err error) error {
	return &Failure{Webhook: w.Name, Reason: reason, Err: err}
}

// timedOut reports whether some part of a question took too long.
func timedOut(err error) bool {
	var late interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &late) && late.Timeout()
}

// unreachable says why there is no answer, without the address.
func unreachable(err error) string {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return "its certificate is not trusted"
	}
	return "it can't be reached"
}
