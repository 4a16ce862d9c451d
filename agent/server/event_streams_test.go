package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
)

// Events that come while Nomad can't be asked for the caller's rights are shown later.
func TestEvents_NotLostWhileNomadIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := newUnserved(t, nil)
		b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
		ask := func(ctx context.Context, method, path, body string) *httptest.ResponseRecorder {
			w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, strings.NewReader(body)).WithContext(ctx)
			r.Header.Set("X-Nomad-Token", "alice")
			s.Handler().ServeHTTP(w, r)
			return w
		}
		if w := ask(t.Context(), "PUT", "/v1/services", submission(hello)); w.Code != 200 {
			t.Fatal(w.Body)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		time.AfterFunc(5*time.Minute, func() { b.nomad.Fail(wadi.ErrUnavailable) })
		time.AfterFunc(6*time.Minute, func() { b.events.add(event("hello", "during")) })
		time.AfterFunc(7*time.Minute, func() { b.events.add(event("hello", "later")) })
		time.AfterFunc(10*time.Minute, func() { b.nomad.Fail(nil) })
		got := ask(ctx, "GET", "/v1/events", "").Body.String()
		if strings.Count(got, "during") != 1 || strings.Count(got, "later") != 1 || strings.Index(got, "during") > strings.Index(got, "later") {
			t.Errorf("got %s", got)
		}
	})
}

// A client has a share of the streams, as of the reads that wait. Who follows nothing is not
// bounded by it.
func TestEvents_Bounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := newUnserved(t, nil)
		ask := func(ctx context.Context, client, query string) int {
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/events"+query, nil)
			r.RemoteAddr = client + ":1"
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			return w.Code
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for client := range 4 {
			for range 128 {
				all.Go(func() { ask(ctx, fmt.Sprintf("10.0.0.%d", client), "") })
			}
		}
		synctest.Wait()
		for _, tt := range []struct {
			client, query string
			want          int
		}{
			{"10.0.0.0", "", http.StatusTooManyRequests}, {"10.0.0.0", "?follow=false", http.StatusOK},
			{"10.0.0.9", "", http.StatusServiceUnavailable},
		} {
			short, stop := context.WithTimeout(t.Context(), time.Second)
			if got := ask(short, tt.client, tt.query); got != tt.want {
				t.Errorf("%+v: got %d", tt, got)
			}
			stop()
		}
		cancel()
		all.Wait()
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if got := ask(short, "10.0.0.0", ""); got != http.StatusOK {
			t.Errorf("when they have ended: got %d", got)
		}
	})
}
