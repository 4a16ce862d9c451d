package consul_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

func TestMayWriteIntentions_Answers(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		answer string
		want   error
		text   string
	}{
		"yes":           {200, `[{"Resource":"intention","Segment":"hello","Access":"write","Allow":true}]`, nil, ""},
		"no":            {200, `[{"Resource":"intention","Segment":"hello","Access":"write","Allow":false}]`, wadi.ErrForbidden, ""},
		"another's":     {200, `[{"Resource":"intention","Segment":"other","Access":"write","Allow":true}]`, wadi.ErrForbidden, ""},
		"unknown token": {403, `ACL not found`, wadi.ErrForbidden, ""},
		"no ACLs":       {401, `ACL support disabled`, nil, ""},
		"no leader":     {500, `No cluster leader`, wadi.ErrUnavailable, ""},
		"nothing":       {200, `[]`, nil, "not understood"},
		"garbage":       {200, `<html>`, nil, "not understood"},
		"not found":     {404, `page not found`, wadi.ErrNotFound, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var token string
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				token = r.Header.Get("X-Consul-Token")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.answer)
			}))
			defer s.Close()
			c, err := consul.New(consul.Config{Address: s.URL, Token: "ours"})
			if err != nil {
				t.Fatal(err)
			}
			err = c.MayWriteIntentions(t.Context(), "", "hello")
			if tt.want != nil && !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil && tt.text == "") || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %v %s", err, tt.want, tt.text)
			}
			if token != "anonymous" {
				t.Errorf("a caller without token was taken for %q", token)
			}
		})
	}
}

func TestMayWriteIntentions_BySocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consul.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "ACL support disabled")
	})}}
	s.Start()
	defer s.Close()
	c, err := consul.New(consul.Config{Address: "unix://" + path})
	if err == nil {
		err = c.MayWriteIntentions(t.Context(), "alice", "hello")
	}
	if err != nil {
		t.Error(err)
	}
}

// A caller whose time is over before the second question was refused.
func TestMayWriteIntentions_RefusedAtTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `[{"Resource":"intention","Segment":"hello","Access":"write","Allow":false}]`)
		time.AfterFunc(50*time.Millisecond, cancel) // The answer has come by then, and the pause is not over.
	}))
	defer s.Close()
	c, err := consul.New(consul.Config{Address: s.URL, Token: "ours"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.MayWriteIntentions(ctx, "alice", "hello"); !errors.Is(err, wadi.ErrForbidden) {
		t.Errorf("got %v, want a refusal", err)
	}
}

// One refusal proves nothing: the token may be new to a Consul that has just started.
func TestMayWriteIntentions_RefusedOnce(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked == 1 {
			http.Error(w, "ACL not found", http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, `[{"Resource":"intention","Segment":"hello","Access":"write","Allow":true}]`)
	}))
	defer s.Close()
	c, err := consul.New(consul.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.MayWriteIntentions(t.Context(), "carol", "hello"); err != nil || asked != 2 {
		t.Errorf("got %v after %d questions", err, asked)
	}
}

// Nor does one refusal make intentions hidden, or the default deny.
func TestIntentions_RefusedOnce(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path]++
		first := asked[r.URL.Path] == 1
		mu.Unlock()
		switch w.Header().Set("X-Consul-Index", "7"); {
		case first:
			http.Error(w, "Permission denied", http.StatusForbidden)
		case r.URL.Path == "/v1/agent/self":
			_, _ = io.WriteString(w, `{"DebugConfig":{"DefaultIntentionPolicy":"allow"}}`)
		case r.URL.Path == "/v1/connect/intentions/match":
			_, _ = io.WriteString(w, `{"hello":[]}`)
		case r.URL.Query().Get("index") > "0":
			<-r.Context().Done()
		default:
			_, _ = io.WriteString(w, `[]`)
		}
	}))
	defer s.Close()
	c, err := consul.New(consul.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.UnlistedIntentions(t.Context(), []string{"hello"}); len(got.Hidden) != 0 || len(got.Present) != 0 || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_ = c.WatchIntentions(ctx, func(in consul.Intentions) {
		if !in.DefaultAllow {
			t.Error("the default was taken for deny")
		}
		cancel()
	}, func(err error) { t.Logf("told: %v", err) })
}
