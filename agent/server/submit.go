package server

import (
	"context"
	"net/http"

	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/api"
)

// headerConsulToken carries the caller's Consul token, for rights that the caller needs in
// Consul.
const headerConsulToken = "X-Consul-Token"

// submit stores the services of a submission.
func (s *Server) submit(w http.ResponseWriter, r *http.Request) error {
	return admit(s, w, r, s.Admission.Submit)
}

// validate does what submit does, but stores nothing.
func (s *Server) validate(w http.ResponseWriter, r *http.Request) error {
	return admit(s, w, r, s.Admission.Validate)
}

// plan says what submit would change.
func (s *Server) plan(w http.ResponseWriter, r *http.Request) error {
	return admit(s, w, r, s.Admission.Plan)
}

// admit reads a submission and has do evaluate it. Only callers with the right to submit
// queue for the evaluation, so that callers without it delay no other.
func admit[T any](s *Server, w http.ResponseWriter, r *http.Request, do func(context.Context, admission.Request) (T, error)) error {
	slot, err := s.slots.acquire(w, r)
	if err != nil {
		return err
	}
	defer slot.release()
	var body api.Submission
	// Escaping makes sources at most twice as large.
	if err := slot.bodyRead(decode(w, r, int64(2*s.settings.Load().MaxSpecBytes+64<<10), &body)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), submitTimeout)
	defer func() { cancel() }()
	evaluating := false
	defer func() {
		if evaluating {
			<-s.submissions
		}
	}()
	evaluate := func() (context.Context, error) {
		select {
		case s.submissions <- struct{}{}:
			evaluating = true
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		cancel()
		ctx, cancel = context.WithTimeout(r.Context(), submitTimeout)
		return ctx, nil
	}
	pause := func() {
		<-s.submissions
		evaluating = false
	}
	out, err := do(ctx, admission.Request{
		Submission: body, NomadToken: nomadToken(r), ConsulToken: r.Header.Get(headerConsulToken),
		Scan: s.scan, Evaluate: evaluate, Pause: pause,
	})
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, out)
}

// scan waits until another submission may be scanned.
func (s *Server) scan(ctx context.Context) (done func(), err error) {
	select {
	case s.scans <- struct{}{}:
		return func() { <-s.scans }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
