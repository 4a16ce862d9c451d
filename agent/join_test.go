package agent

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/internal/consul"
)

func TestWhyNotJoin(t *testing.T) {
	agent := func(name, prefix, at string) consul.Instance {
		in := listed(name, "b", true)
		in.Meta[consul.MetaHTTP] = at
		if prefix != "" {
			in.Meta[consul.MetaPrefix] = prefix
		}
		return in
	}
	for _, tt := range []struct {
		name  string
		alive []consul.Instance
		why   string // Part of it; empty: it may join.
	}{
		{"alone", nil, ""},
		{"with others", []consul.Instance{agent("one", "wadi/", "a:1"), agent("two", "wadi/", "b:1")}, ""},
		{"with older ones", []consul.Instance{agent("one", "", "a:1")}, ""},
		{"registered by its last run", []consul.Instance{agent("me", "wadi/", "me:1")}, ""},
		{"registered by its last run with another prefix", []consul.Instance{agent("me", "old/", "me:1")}, ""},
		{"of a name", []consul.Instance{agent("me", "wadi/", "a:1")}, `an agent named "me" is alive on node , with its API at a:1`},
		{"beside another installation", []consul.Instance{agent("one", "test/", "a:1")}, `agent "one" at a:1 belongs to another installation`},
	} {
		got := whyNotJoin(tt.alive, "me", "wadi/", whereabouts{http: "me:1"})
		if (got == "") != (tt.why == "") || !strings.Contains(got, tt.why) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.why)
		}
	}
}

// An agent without the right to ask for Consul's agent joins, and one that can't see who
// else is there says that it waits.
func TestMayJoin_WithoutAnswers(t *testing.T) {
	listed := make(chan int, 1)
	listed <- http.StatusInternalServerError
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/agent/self") {
			http.Error(w, "Permission denied: token lacks permission 'agent:read'", http.StatusForbidden)
			return
		}
		code := <-listed
		listed <- code
		w.WriteHeader(code)
		_, _ = w.Write([]byte("[]"))
	}))
	defer s.Close()
	client, err := consul.New(consul.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	a := &Agent{consul: client, apiListener: l, log: hclog.NewNullLogger()}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	joined := make(chan error, 1)
	go func() { joined <- a.mayJoin(ctx) }()
	for a.waits.Load() == nil || !strings.Contains(*a.waits.Load(), "the agents in Consul") {
		if sleep(ctx, 10*time.Millisecond); ctx.Err() != nil {
			t.Fatal("it does not say that it waits")
		}
	}
	<-listed
	listed <- http.StatusOK
	if err := <-joined; err != nil || ctx.Err() != nil {
		t.Errorf("got %v, %v", err, ctx.Err())
	}
}
