package server_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/api"
)

// A deletion with wait is answered when the service is gone.
func TestServer_DeleteWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nomad, store := &admissiontest.Nomad{}, &admissiontest.Store{}
		adm, err := admissiontest.New(nomad, store, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := server.New(server.Config{Self: api.Self{Name: "one"}, Admission: adm, Store: store, Rights: nomad})
		if err != nil {
			t.Fatal(err)
		}
		ask := func(method, path, body string) *httptest.ResponseRecorder {
			rec := httptest.NewRecorder()
			s.Handler().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
			return rec
		}
		if rec := ask("PUT", "/v1/services", submission(hello)); rec.Code != http.StatusOK {
			t.Fatal(rec.Body)
		}
		began := time.Now()
		time.AfterFunc(10*time.Second, func() { store.Forget("hello") })
		rec := ask("DELETE", "/v1/service/hello?wait=30s", "")
		if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), `"gone":true`) {
			t.Errorf("got status %d: %s", rec.Code, rec.Body)
		}
		if took := time.Since(began); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("told after %v, want it as soon as the service was gone", took)
		}
	})
}

// hanging is a Consul that takes requests and never answers.
type hanging struct{ *admissiontest.Store }

func (hanging) Services(ctx context.Context) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (hanging) Spec(ctx context.Context, _ string) (wadi.Spec, uint64, error) {
	<-ctx.Done()
	return wadi.Spec{}, 0, ctx.Err()
}

// A Nomad or Consul that hangs counts as unavailable, and does not block callers for ever.
func TestServer_HangingStore(t *testing.T) {
	for _, tt := range []struct {
		method, path, body string
		most               time.Duration
	}{
		{"GET", "/v1/services", "", 10 * time.Second},
		{"GET", "/v1/service/hello", "", 10 * time.Second},
		{"GET", "/v1/events?service=hello", "", 10 * time.Second},
		{"PUT", "/v1/service/hello/scale", "{}", 30 * time.Second},
		{"DELETE", "/v1/service/hello", "", 10 * time.Second},
		{"DELETE", "/v1/service/hello?wait=5s", "", 15 * time.Second},
		{"PUT", "/v1/services", submission(hello), 30 * time.Second},
		{"POST", "/v1/services/validate", submission(hello), 30 * time.Second},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nomad, store := &admissiontest.Nomad{}, hanging{&admissiontest.Store{}}
				adm, err := admission.New(admission.Config{Store: store, Nomad: nomad, Catalog: admissiontest.Catalog(nil), Intentions: nomad})
				if err != nil {
					t.Fatal(err)
				}
				s, err := server.New(server.Config{
					Self: api.Self{Name: "one"}, Auth: wadi.AuthNone, Admission: adm, Store: store, Rights: nomad,
				})
				if err != nil {
					t.Fatal(err)
				}
				began, rec := time.Now(), httptest.NewRecorder()
				s.Handler().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, strings.NewReader(tt.body)))
				if took := time.Since(began); took > tt.most || rec.Code != http.StatusServiceUnavailable {
					t.Errorf("got status %d after %v, want 503 within %v: %s", rec.Code, took, tt.most, rec.Body)
				}
			})
		})
	}
}
