package server

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wadi-run/wadi/api"
)

// handler answers a request, or returns the error to answer with.
type handler func(w http.ResponseWriter, r *http.Request) error

// route is one operation of the API. api/openapi.json describes it.
type route struct {
	pattern string   // As http.ServeMux takes it.
	query   []string // The parameters that it reads; others are refused.
	handle  handler
}

// Reads that only the leader can answer.
const (
	pathDecisions = "GET /v1/service/{name}/decisions"
	pathEvents    = "GET /v1/events"
	pathCheck     = "GET /v1/service/{name}/rollout/check"
)

// pathHealth is what load balancers ask.
const pathHealth = "/v1/agent/health"

// pathReport is what agents read of each other for the doctor.
const pathReport = "GET /v1/agent/doctor"

// table is the whole API, without the admin plane.
func (s *Server) table() []route {
	blocks := []string{"index", "wait"}
	return []route{
		{"PUT /v1/services", nil, s.submit},
		{"POST /v1/services/validate", nil, s.validate},
		{"POST /v1/services/plan", nil, s.plan},
		{"GET /v1/services", blocks, s.blocking(s.list)},
		{"GET /v1/service/{name}", blocks, s.blocking(s.read)},
		{"DELETE /v1/service/{name}", []string{"index", "wait"}, s.remove},
		{"GET /v1/service/{name}/revisions", blocks, s.blocking(s.revisions)},
		{"GET /v1/service/{name}/load", nil, s.inTurn(within(readTimeout, s.load))},
		{pathDecisions, nil, within(readTimeout, s.decisions)},
		{pathCheck, []string{"since"}, within(readTimeout, s.checkRollout)},
		{"PUT /v1/service/{name}/scale", nil, s.scale},
		{"PUT /v1/service/{name}/traffic", nil, s.setTraffic},
		{"PUT /v1/service/{name}/rollback", nil, s.rollback},
		{"PUT /v1/service/{name}/rollout", nil, s.orderRollout},
		{"GET /v1/revision/{id}", blocks, s.blocking(s.revision)},
		{"DELETE /v1/revision/{id}", []string{"index", "wait"}, s.removeRevision},
		{"PUT /v1/revision/{id}/pin", nil, s.inTurn(within(readTimeout, s.pin))},
		{"DELETE /v1/revision/{id}/pin", nil, s.inTurn(within(readTimeout, s.unpin))},
		{pathEvents, []string{"service", "index", "follow"}, s.events},
		{"GET /v1/doctor", nil, within(submitTimeout, s.doctor)},
		{pathReport, nil, within(submitTimeout, s.report)},
		{"GET " + pathHealth, []string{"type"}, s.health},
		{"GET /v1/agent/self", nil, within(readTimeout, s.self)},
		{"PUT /v1/agent/reload", nil, within(submitTimeout, s.reload)},
		{"GET /v1/status/leader", nil, within(readTimeout, s.leader)},
		{"GET /v1/openapi.json", nil, s.openAPI},
	}
}

func (s *Server) routes() {
	for _, rt := range s.table() {
		s.handle(rt.pattern, strictQuery(rt.query, rt.handle))
	}
	s.handle("/v1/admin/", s.admin)
	s.handle("/debug/pprof/", s.admin)
}

func (s *Server) handle(pattern string, h handler) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// strictQuery refuses parameters that h does not read, empty ones, and those that are given
// twice: a misspelt one, or a variable that is not set in a script, would change what is asked
// without a word.
func strictQuery(known []string, h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return badInput("the query can't be read: %v", err)
		}
		for name, values := range query {
			switch {
			case !slices.Contains(known, name) && len(known) == 0:
				return badInput("this path has no parameter %.64q; it has none", name)
			case !slices.Contains(known, name):
				return badInput("this path has no parameter %.64q; it has %s", name, strings.Join(known, ", "))
			case len(values) > 1:
				return badInput("the parameter %q is given %d times", name, len(values))
			case values[0] == "":
				return badInput("the parameter %q is empty", name)
			}
		}
		return h(w, r)
	}
}

// openAPI answers every caller with the description of this API.
func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	return s.reply(w, http.StatusOK, api.OpenAPI())
}
