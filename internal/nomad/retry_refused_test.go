package nomad_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
)

// starting is a Nomad that has just started: it refuses the first call of every path and
// token, and accepts the others.
type starting struct {
	mu    sync.Mutex
	asked map[string]int
	code  int
	words string
	done  atomic.Int32 // Number of scalings.
}

func (s *starting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	what := r.URL.Path + " " + r.URL.Query().Get("namespace") + " " + r.Header.Get("X-Nomad-Token")
	if s.asked == nil {
		s.asked = map[string]int{}
	}
	if s.asked[what]++; s.asked[what] == 1 {
		answer(s.code, s.words)(w, r)
		return
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/stable"):
		answer(500, `job "wadi.rights.probe" at version 0 not found`)(w, r)
	case strings.HasSuffix(r.URL.Path, "/scale") && strings.Contains(string(body), `"Count":3`):
		s.done.Add(1)
		answer(200, `{"JobModifyIndex":9,"EvalID":"e"}`)(w, r)
	case r.URL.Path == "/v1/acl/token/self":
		answer(200, `{"AccessorID":"a"}`)(w, r)
	default:
		answer(404, "job not found")(w, r)
	}
}

// One refusal proves nothing: Nomad refuses good tokens just after it has started.
func TestRefusalsAreRetried(t *testing.T) {
	t.Parallel()
	for _, tt := range []*starting{
		{code: 403, words: "ACL token not found"}, {code: 403, words: "Permission denied"}, {code: 500, words: "rpc error: Permission denied"},
	} {
		c := client(t, tt)
		for what, ask := range map[string]func(context.Context) error{
			"submit": func(ctx context.Context) error { return c.MaySubmit(ctx, "alice", "default") },
			"read":   func(ctx context.Context) error { return c.MayRead(ctx, "alice", "default") },
			"scale":  func(ctx context.Context) error { return c.MayScale(ctx, "alice", "default") },
			"known":  func(ctx context.Context) error { _, err := c.Known(ctx, "alice"); return err },
			"our own call": func(ctx context.Context) error {
				_, _, err := c.Scale(ctx, "default", "hello-00001", 3, 0, "", nil)
				return err
			},
		} {
			if err := ask(t.Context()); err != nil {
				t.Errorf("%d %s: %s: got %v", tt.code, tt.words, what, err)
			}
		}
		if n := tt.done.Load(); n != 1 {
			t.Errorf("%d scalings, want 1", n)
		}
	}
}

// A call that is refused each time is refused in Nomad's words and in bounded time. The
// caller's next call is refused at once, and so is a caller without a token.
func TestRefusalsAreBelieved(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		answer(403, "ACL token not found")(w, r)
	}))
	err := c.MaySubmit(t.Context(), "mallory", "default")
	if !errors.Is(err, wadi.ErrForbidden) || !strings.Contains(err.Error(), "ACL token not found") || asked.Load() != 3 {
		t.Errorf("got %v after %d calls", err, asked.Load())
	}
	asked.Store(0)
	if err := c.MayRead(t.Context(), "mallory", "other"); !errors.Is(err, wadi.ErrForbidden) || asked.Load() != 1 {
		t.Errorf("the next question: got %v after %d calls", err, asked.Load())
	}
	asked.Store(0)
	if err := c.MaySubmit(t.Context(), "", "default"); !errors.Is(err, wadi.ErrForbidden) || asked.Load() != 1 {
		t.Errorf("without a token: got %v after %d calls", err, asked.Load())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.MaySubmit(ctx, "trudy", "default"); err == nil || errors.Is(err, wadi.ErrForbidden) {
		t.Errorf("without time to ask again: got %v, want that it is not known", err)
	}
}

// A caller that may read all namespaces but one can't tell by the time of the answer
// whether a name exists in that one.
func TestRefusals_NowhereIsRetried(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	asked := map[string]int{}
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ns := r.URL.Query().Get("namespace")
		mu.Lock()
		asked[ns]++
		mu.Unlock()
		switch {
		case ns == "secret":
			answer(403, "Permission denied")(w, r)
		case strings.HasSuffix(r.URL.Path, "/stable"):
			answer(500, `job "wadi.rights.probe" at version 0 not found`)(w, r)
		default:
			answer(404, "job not found")(w, r)
		}
	}))
	for what, ask := range map[string]func(ctx context.Context, token, namespace string) error{"read": c.MayRead, "submit": c.MaySubmit, "scale": c.MayScale} {
		mu.Lock()
		clear(asked)
		mu.Unlock()
		if err := ask(t.Context(), "for secret to "+what, "secret"); !errors.Is(err, wadi.ErrForbidden) {
			t.Errorf("%s: got %v", what, err)
		}
		for _, ns := range []string{wadi.UnknownNamespace, "default"} {
			if err := ask(t.Context(), "for "+ns+" to "+what, ns); err != nil {
				t.Errorf("%s in %s: got %v", what, ns, err)
			}
		}
		mu.Lock()
		if asked["secret"] != asked[wadi.UnknownNamespace] || asked["default"] != 1 {
			t.Errorf("%s: asked %v", what, asked)
		}
		mu.Unlock()
	}
}

// Invalid tokens can't delay more than a few calls at a time.
func TestRefusals_ManyDontWait(t *testing.T) {
	t.Parallel()
	var once sync.Map
	var again atomic.Int32
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, loaded := once.LoadOrStore(r.Header.Get("X-Nomad-Token"), true); loaded {
			again.Add(1)
		}
		answer(403, "ACL token not found")(w, r)
	}))
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range 40 {
		wg.Go(func() {
			<-begin
			if err := c.MaySubmit(t.Context(), strings.Repeat("x", i+1), "default"); !errors.Is(err, wadi.ErrForbidden) {
				t.Errorf("got %v", err)
			}
		})
	}
	close(begin)
	wg.Wait()
	if n := again.Load(); n == 0 || n >= 2*40 {
		t.Errorf("%d calls were sent again, want some and not all", n)
	}
}

// A list leaves out namespaces that the token may not read. An unknown token is refused,
// whether there is anything to list or not.
func TestReadable(t *testing.T) {
	t.Parallel()
	acls := true
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ns := r.Header.Get("X-Nomad-Token"), r.URL.Query().Get("namespace")
		self := r.URL.Path == "/v1/acl/token/self"
		switch {
		case self && !acls:
			answer(400, "ACL support disabled")(w, r)
		case !acls:
			answer(404, "job not found")(w, r)
		case token == "unknown" && self: // Though Nomad says so elsewhere.
			answer(403, "Permission denied")(w, r)
		case token == "unknown":
			answer(403, "ACL token not found")(w, r)
		case self:
			answer(200, `{"AccessorID":"a"}`)(w, r)
		case token == "alice" && ns == "a":
			answer(404, "job not found")(w, r)
		default:
			answer(403, "Permission denied")(w, r)
		}
	}))
	for _, tt := range []struct {
		token      string
		namespaces []string
		want       map[string]bool
		err        string
	}{
		{"alice", []string{"a", "b"}, map[string]bool{"a": true}, ""},
		{"alice", []string{"b"}, map[string]bool{}, ""},
		{"alice", nil, map[string]bool{}, ""},
		{"unknown", []string{"a"}, nil, "ACL token not found"},
		{"unknown", nil, nil, "ACL token not found"},
		{"", []string{"a"}, nil, "Permission denied"},
		{"", nil, nil, "Permission denied"},
	} {
		got, err := c.Readable(t.Context(), tt.token, tt.namespaces)
		if diff := cmp.Diff(tt.want, got); diff != "" || (err == nil) != (tt.err == "") ||
			err != nil && (!errors.Is(err, wadi.ErrForbidden) || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%q of %v: got %v, %v", tt.token, tt.namespaces, got, err)
		}
	}
	acls = false
	if got, err := c.Readable(t.Context(), "", nil); len(got) != 0 || err != nil {
		t.Errorf("without ACLs: got %v, %v", got, err)
	}
	if known, err := c.Known(t.Context(), "whatever"); known || err != nil {
		t.Errorf("without ACLs: got %v, %v", known, err)
	}
}

// Nomad 1.11.3's answers about a token are reported with their true meaning.
func TestKnown_AsNomadSaysIt(t *testing.T) {
	t.Parallel()
	const stored = "8176afd3-772d-0b71-8f85-7fa5d903e9d4"
	for _, tt := range []struct {
		token, words string
		code         int
		err          string // Empty: the token is known.
	}{
		{stored, `{"AccessorID":"a"}`, 200, ""},
		{stored, "Permission denied", 403, "ACL token not found"},
		{stored, "ACL token not found", 404, "ACL token not found"},
		{stored, "rpc error: ACL token expired", 500, "ACL token expired"},
		{"of.a.workload", "ACL token not found", 404, ""},
		{"cut off", "failed to parse signed token: go-jose/go-jose: compact JWS format must have three parts", 500, "ACL token not found"},
		{"of.an.ended", "rpc error: allocation is terminal", 500, "ACL token not found"},
	} {
		c := client(t, answer(tt.code, tt.words))
		acls, err := c.Known(t.Context(), tt.token)
		if !acls || (err == nil) != (tt.err == "") || err != nil && (!errors.Is(err, wadi.ErrForbidden) || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%q, %d %s: got %v, %v", tt.token, tt.code, tt.words, acls, err)
		}
	}
	c := client(t, answer(200, `{"AccessorID":"acls-disabled","Name":"ACLs disabled token"}`))
	for _, token := range []string{"", stored, "any"} {
		if acls, err := c.Known(t.Context(), token); acls || err != nil || c.TokenName(t.Context(), token) != "" {
			t.Errorf("%q, without ACLs: got %v, %v, %q", token, acls, err, c.TokenName(t.Context(), token))
		}
	}
	for _, token := range []string{stored, "of.a.workload"} {
		c := client(t, answer(500, "No cluster leader"))
		if _, err := c.Known(t.Context(), token); err == nil || errors.Is(err, wadi.ErrForbidden) {
			t.Errorf("%q, without a leader: got %v", token, err)
		}
	}
}

func TestMayReadNodes(t *testing.T) {
	t.Parallel()
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/nodes" && r.Header.Get("X-Nomad-Token") == "reader" {
			answer(200, "[]")(w, r)
			return
		}
		answer(403, "Permission denied")(w, r)
	}))
	if err := c.MayReadNodes(t.Context(), "reader"); err != nil {
		t.Error(err)
	}
	if err := c.MayReadNodes(t.Context(), "other"); !errors.Is(err, wadi.ErrForbidden) {
		t.Errorf("got %v", err)
	}
}
