package consul_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/consul/consultest"
)

func newClient(tb testing.TB, url string) *consul.Client {
	tb.Helper()
	c, err := consul.New(consul.Config{Address: url})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestClient_ErrorsAreTheRootsOwn(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
		want   error
	}{
		{"forbidden", 403, "Permission denied: token with AccessorID '' lacks permission", wadi.ErrForbidden},
		{"unknown token", 403, "ACL not found", wadi.ErrForbidden},
		{"no leader", 500, "No cluster leader", wadi.ErrUnavailable},
		{"no servers", 500, "No known Consul servers", wadi.ErrUnavailable},
		{"server going away", 500, "rpc error making call: EOF", wadi.ErrUnavailable},
		{"a refusal by way of a client agent", 500, `rpc error making call: service "hello" does not have a subset named "hello-00001"`, nil},
		{"the same of a protocol", 500, `rpc error making call: discovery chain "hello" uses a protocol "tcp" that does not permit advanced routing`, nil},
		{"too many connections", 429, "Your IP is issuing too many concurrent connections", wadi.ErrUnavailable},
		{"too large", 413, "Request body(600000 bytes) too large, max size: 524288 bytes.", wadi.ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, tt.body, tt.status)
			}))
			defer srv.Close()
			c := newClient(t, srv.URL)
			if _, err := c.List(t.Context(), "wadi/"); !errors.Is(err, tt.want) && tt.want != nil || err == nil || tt.want == nil && errors.Is(err, wadi.ErrUnavailable) {
				t.Errorf("list: got %v, want %v", err, tt.want)
			}
			if _, err := c.Txn(t.Context(), []consul.Op{{Verb: consul.Set, Key: "a"}}); tt.status == 500 && tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("txn: got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestClient_ConnectionRefused(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	if _, err := newClient(t, srv.URL).Get(t.Context(), "a"); !errors.Is(err, wadi.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

func TestClient_CancelledIsNotUnavailable(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newClient(t, consultest.Start(t).URL).Get(ctx, "a")
	if errors.Is(err, wadi.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled alone", err)
	}
}

func TestTxn_AllOrNothing(t *testing.T) {
	f := consultest.Start(t)
	c := newClient(t, f.URL)
	ps, err := c.Txn(t.Context(), []consul.Op{
		{Verb: consul.CAS, Key: "a", Value: []byte("1")},
		{Verb: consul.CAS, Key: "b", Value: []byte("2")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(ps) != 2 || ps[0].Index == 0 || ps[0].Index != ps[1].Index {
		t.Fatalf("got %+v, want two pairs of one index", ps)
	}
	_, err = c.Txn(t.Context(), []consul.Op{
		{Verb: consul.Set, Key: "a", Value: []byte("3")},
		{Verb: consul.CAS, Key: "b", Value: []byte("4"), Index: ps[0].Index + 7},
	})
	var te *consul.TxnError
	if !errors.Is(err, wadi.ErrConflict) || !errors.As(err, &te) {
		t.Fatalf("got %v, want a conflict", err)
	}
	if diff := cmp.Diff([]int{1}, te.Ops); diff != "" {
		t.Errorf("operations at fault (-want +got):\n%s", diff)
	}
	got, err := c.Get(t.Context(), "a")
	if err != nil || string(got.Value) != "1" {
		t.Errorf("a is %q, %v; want it as before", got.Value, err)
	}
}

func TestTxn_WithoutRights(t *testing.T) {
	f := consultest.Start(t)
	f.Deny("wadi/")
	c := newClient(t, f.URL)
	_, err := c.Txn(t.Context(), []consul.Op{{Verb: consul.Set, Key: "wadi/a"}})
	if !errors.Is(err, wadi.ErrOwnRight) || errors.Is(err, wadi.ErrConflict) {
		t.Errorf("got %v, want ErrForbidden", err)
	}
}

func TestTxn_TooLargeIsRefusedBeforeSending(t *testing.T) {
	f := consultest.Start(t)
	c := newClient(t, f.URL)
	for name, ops := range map[string][]consul.Op{
		"bytes":      {{Verb: consul.Set, Key: "a", Value: bytes.Repeat([]byte("x"), 384<<10)}},
		"operations": make([]consul.Op, consul.MaxTxnOps+1),
	} {
		if _, err := c.Txn(t.Context(), ops); !errors.Is(err, wadi.ErrTooLarge) {
			t.Errorf("%s: got %v, want ErrTooLarge", name, err)
		}
	}
	if n := f.Txns(); n != 0 {
		t.Errorf("%d transactions arrived, want none", n)
	}
}

func TestWaitGet_ReturnsOnChange(t *testing.T) {
	f := consultest.Start(t)
	f.Put("a", []byte("1"))
	c := newClient(t, f.URL)
	_, index, err := c.WaitGet(t.Context(), "a", 0, time.Minute, false)
	if err != nil {
		t.Fatal(err)
	}
	go f.Put("a", []byte("2"))
	got, next, err := c.WaitGet(t.Context(), "a", index, time.Minute, false)
	if err != nil || string(got.Value) != "2" || next <= index {
		t.Errorf("got %q at %d (%v), want 2 after %d", got.Value, next, err, index)
	}
}
