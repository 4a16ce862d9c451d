package server

import (
	"net/http"

	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/api"
)

// maxOrderBody bounds the body of an order about traffic: targets are few, and short.
const maxOrderBody = 16 << 10

// setTraffic stores other traffic targets of a service.
func (s *Server) setTraffic(w http.ResponseWriter, r *http.Request) error {
	return ordered(s, w, r, func(r *http.Request, o admission.Order, body api.Traffic) (api.TrafficSet, error) {
		o.CheckIndex = body.CheckIndex
		return s.Admission.SetTraffic(r.Context(), o, body.Targets)
	})
}

// rollback gives the traffic to an earlier revision.
func (s *Server) rollback(w http.ResponseWriter, r *http.Request) error {
	return ordered(s, w, r, func(r *http.Request, o admission.Order, body api.Rollback) (api.TrafficSet, error) {
		o.CheckIndex = body.CheckIndex
		return s.Admission.Rollback(r.Context(), o, body.To)
	})
}

// orderRollout pauses, resumes or aborts a rollout.
func (s *Server) orderRollout(w http.ResponseWriter, r *http.Request) error {
	return ordered(s, w, r, func(r *http.Request, o admission.Order, body api.RolloutOrder) (api.RolloutOrdered, error) {
		o.CheckIndex = body.CheckIndex
		return s.Admission.OrderRollout(r.Context(), o, body.Action)
	})
}

// ordered reads the body of an order, checks the caller's right, and answers with what do
// makes of it.
func ordered[In, Out any](s *Server, w http.ResponseWriter, r *http.Request, do func(*http.Request, admission.Order, In) (Out, error)) error {
	var body In
	if err := decode(w, r, maxOrderBody, &body); err != nil { // Before it is its turn: a body may be slow.
		return err
	}
	return s.inTurn(within(submitTimeout, func(w http.ResponseWriter, r *http.Request) error {
		spec, _, err := s.permitted(r, r.PathValue("name"), rightSubmit)
		if err != nil {
			return err
		}
		out, err := do(r, admission.Order{Service: spec.Service.Name, Namespace: spec.Service.Namespace, By: s.who(r)}, body)
		if err != nil {
			return err
		}
		return s.reply(w, http.StatusOK, out)
	}))(w, r)
}
