package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/api"
)

var errNewer = fmt.Errorf("%w: written by a newer Wadi; upgrade this agent", wadi.ErrUnreadable)

// halfRead is a store in which the spec of the service stranger is unreadable, and all of
// hello except its spec.
type halfRead struct{ *admissiontest.Store }

func (s halfRead) Services(context.Context) ([]string, error) {
	return []string{"hello", "stranger"}, nil
}

func (s halfRead) Spec(ctx context.Context, name string) (wadi.Spec, uint64, error) {
	if name == "stranger" {
		return wadi.Spec{}, 0, errNewer
	}
	return s.Store.Spec(ctx, name)
}

func (s halfRead) Status(context.Context, string) (wadi.Status, error) {
	return wadi.Status{}, errNewer
}
func (s halfRead) Route(context.Context, string) (wadi.Route, error) { return wadi.Route{}, errNewer }

func (s halfRead) Revisions(ctx context.Context, name string) ([]wadi.Revision, error) {
	all, err := s.Store.Revisions(ctx, name)
	if err == nil {
		err = errNewer
	}
	return all, err
}

func (s halfRead) Overrides(context.Context, string) (map[string]wadi.Override, error) {
	return nil, errNewer
}

// An unreadable value affects the answer about its service only.
func TestServer_WhatCantBeRead(t *testing.T) {
	for _, auth := range []wadi.Auth{wadi.AuthNone, wadi.AuthNomad} {
		t.Run(string(auth), func(t *testing.T) {
			nomad, store := &admissiontest.Nomad{}, halfRead{&admissiontest.Store{}}
			adm, err := admissiontest.New(nomad, store.Store, nil)
			if err != nil {
				t.Fatal(err)
			}
			s, err := server.New(server.Config{Self: api.Self{Name: "one"}, Auth: auth, Admission: adm, Store: store, Rights: nomad})
			if err != nil {
				t.Fatal(err)
			}
			ask := func(method, path, body string) *httptest.ResponseRecorder {
				rec := httptest.NewRecorder()
				req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
				req.Header.Set("X-Nomad-Token", "any")
				s.Handler().ServeHTTP(rec, req)
				return rec
			}
			if rec := ask("PUT", "/v1/services", submission(hello)); rec.Code != http.StatusOK {
				t.Fatal(rec.Body)
			}
			for path, want := range map[string][]string{
				"/v1/services":                {`"name":"hello"`, `"name":"stranger"`, `"phase":"unknown"`},
				"/v1/service/hello":           {`"type":"Stored"`, "newer Wadi", `"phase":"unknown"`},
				"/v1/service/hello/revisions": {"hello-00001"},
				"/v1/revision/hello-00001":    {"hello-00001"},
			} {
				rec := ask("GET", path, "")
				if rec.Code != http.StatusOK {
					t.Errorf("%s: got status %d: %s", path, rec.Code, rec.Body)
				}
				for _, w := range want {
					if !strings.Contains(rec.Body.String(), w) {
						t.Errorf("%s: no %s in %s", path, w, rec.Body)
					}
				}
			}
			if rec := ask("GET", "/v1/service/stranger", ""); rec.Code != http.StatusInternalServerError || !strings.Contains(rec.Body.String(), "newer Wadi") {
				t.Errorf("got status %d: %s; want why it can't be read", rec.Code, rec.Body)
			}
		})
	}
}
