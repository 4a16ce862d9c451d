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

	"github.com/wadi-run/wadi/agent/membership"
	"github.com/wadi-run/wadi/internal/consul"
)

// An agent without the right to read Consul's agent joins, and one that can't list the other
// agents says that it waits.
func TestAwaitName_WithoutAnswers(t *testing.T) {
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
	r := &registrar{clients: clients{consul: client}, api: l.Addr(), advertised: &advertised{}, startup: newStartup(hclog.NewNullLogger()), members: membership.New(membership.Self{}, hclog.NewNullLogger())}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	joined := make(chan error, 1)
	go func() { joined <- r.awaitName(ctx) }()
	for !strings.Contains(r.startup.waitsFor(), "the agents in Consul") {
		if time.Sleep(10 * time.Millisecond); ctx.Err() != nil {
			t.Fatal("it does not say that it waits")
		}
	}
	<-listed
	listed <- http.StatusOK
	if err := <-joined; err != nil || ctx.Err() != nil {
		t.Errorf("got %v, %v", err, ctx.Err())
	}
}
