package survey_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/survey"
)

// system answers as Nomad or Consul do. An answer that begins with a number is that status.
type system struct {
	answers map[string]string // By path.

	mu    sync.Mutex
	asked []*http.Request
}

func (s *system) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r)
	s.mu.Unlock()
	text, there := s.answers[r.URL.Path]
	if !there {
		text = "404 no such thing"
	}
	status := http.StatusOK
	if n, err := fmt.Sscanf(text, "%d ", &status); n == 1 && err == nil {
		text = text[4:]
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}

func (s *system) reader(t *testing.T, c survey.Config) *survey.HTTP {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	c.Address = server.URL
	r, err := survey.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What is refused is told apart from what is not there, however Nomad puts it.
func TestAskNomad_Refused(t *testing.T) {
	for name, answer := range map[string]string{
		"a server":       "403 Permission denied",
		"a client agent": "500 rpc error: Permission denied",
		"no such token":  "403 ACL token not found",
	} {
		s := &system{answers: map[string]string{"/v1/status/leader": `"10.0.0.1:4647"`}}
		for _, path := range []string{"/v1/acl/token/self", "/v1/agent/members", "/v1/namespaces", "/v1/nodes", "/v1/agent/self"} {
			s.answers[path] = answer
		}
		n, err := survey.AskNomad(t.Context(), s.reader(t, survey.Config{}))
		if err != nil || !n.Servers.Refused() || !n.Namespaces.Refused() || !n.Nodes.Refused() || !n.Agent.Refused() || !n.ACLs.Value || n.ACLs.Err != nil {
			t.Errorf("%s: got %+v, %v", name, n, err)
		}
	}
}

func TestAskNomad_Away(t *testing.T) {
	for name, answers := range map[string]map[string]string{
		"no leader":    {"/v1/status/leader": `""`},
		"not Nomad":    {"/v1/status/leader": `<html>`},
		"broken":       {"/v1/status/leader": "500 No cluster leader"},
		"another path": {},
	} {
		s := &system{answers: answers}
		if n, err := survey.AskNomad(t.Context(), s.reader(t, survey.Config{})); err == nil {
			t.Errorf("%s: got %+v", name, n)
		}
	}
	r, err := survey.New(survey.Config{Address: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := survey.AskNomad(t.Context(), r); !errors.Is(err, wadi.ErrUnavailable) || strings.Contains(err.Error(), "/v1/") {
		t.Errorf("nothing listens: got %v", err)
	}
}

// What an agent says of itself: the bound of a client, and its way to Consul.
func TestAskNomad_Agent(t *testing.T) {
	s := &system{answers: map[string]string{"/v1/status/leader": `"x"`, "/v1/agent/self": `{"config":{"Client":{"Enabled":true,"MaxKillTimeout":"90s"},
		"Consuls":[{"Name":"other","Addr":"10.0.0.1:1"},{"Name":"default","Addr":"127.0.0.1:8501","EnableSSL":true}],"TLSConfig":{"EnableHTTP":true}}}`}}
	n, err := survey.AskNomad(t.Context(), s.reader(t, survey.Config{}))
	want := survey.NomadAgent{Client: true, MaxKillTimeout: 90 * time.Second, TLS: true, Consul: "https://127.0.0.1:8501",
		ImageGC: survey.ImageGC{On: true, Delay: 3 * time.Minute}}
	if diff := cmp.Diff(want, n.Agent.Value); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// Servers of regions that are joined say nothing about this one.
func TestAskNomad_Servers(t *testing.T) {
	s := &system{answers: map[string]string{"/v1/status/leader": `"x"`, "/v1/agent/members": `{"ServerRegion":"eu","Members":[null,
		{"Name":"b.eu","Status":"alive","Tags":{"build":"1.11.3","region":"eu","dc":"dc1"}},{"Name":"c.eu","Status":"left","Tags":{"build":"1.9.0","region":"eu"}},
		{"Name":"a.us","Status":"alive","Tags":{"build":"1.8.0","region":"us"}}]}`}}
	n, err := survey.AskNomad(t.Context(), s.reader(t, survey.Config{}))
	want := []survey.Server{{Name: "b.eu", Region: "eu", Datacenter: "dc1", Version: "1.11.3"}}
	if diff := cmp.Diff(want, n.Servers.Value); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// A question that is not answered takes no time from the others.
func TestAsk_OneHangs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var last atomic.Bool // Question was asked.
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/acl/token/self": // The first question.
			<-r.Context().Done()
			if !last.Load() {
				t.Error("one question waited for another")
			}
		case "/v1/agent/self":
			last.Store(true)
			cancel()
			<-r.Context().Done()
		default:
			_, _ = w.Write([]byte(`"x"`))
		}
	}))
	t.Cleanup(s.Close)
	r, err := survey.New(survey.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := survey.AskNomad(ctx, r); err != nil || n.ACLs.Err == nil || n.Agent.Err == nil {
		t.Errorf("got %+v, %v", n, err)
	}
}

// Datacenters are chosen as Nomad does: * is any text, and nothing else is special.
func TestNodes_In(t *testing.T) {
	var all survey.Nodes
	for _, dc := range []string{"dc1", "dc10", "eu.west", "euxwest"} {
		all.Ready = append(all.Ready, survey.Node{ID: dc, Pool: "default", Datacenter: dc})
	}
	all.Ready = append(all.Ready, survey.Node{ID: "other", Pool: "other", Datacenter: "dc1"})
	for in, want := range map[string]string{"": "dc1 dc10 eu.west euxwest", "*": "dc1 dc10 eu.west euxwest", "dc1": "dc1", "dc*": "dc1 dc10", "eu.west": "eu.west",
		"*west": "eu.west euxwest", "dc1 eu*": "dc1 eu.west euxwest", "(": "", "\xff": ""} {
		var got []string
		for _, n := range all.In("default", strings.Fields(in)...).Ready {
			got = append(got, n.ID)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %v", in, got)
		}
	}
	if n := len(all.In("all", "dc1").Ready); n != 2 {
		t.Errorf("all pools: %d", n)
	}
}

// A certificate is verified for the name that is given, else for the host of the address.
func TestHTTP_ServerName(t *testing.T) {
	s := httptest.NewTLSServer(&system{answers: map[string]string{"/x": `"x"`}})
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, good := range map[string]bool{"": true, "example.com": true, "server.global.nomad": false} {
		r, err := survey.New(survey.Config{Address: s.URL, CAFile: ca, ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		var out string
		if _, err := r.Read(t.Context(), "/x", &out); (err == nil) != good {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

// More nodes than the bound are noticed.
func TestAskNomad_ManyNodes(t *testing.T) {
	var nodes []string
	for i := range survey.MaxNodes + 1 {
		nodes = append(nodes, fmt.Sprintf(`{"ID":"%d","Drivers":{"docker":{"Healthy":true},"java":null}}`, i))
	}
	s := &system{answers: map[string]string{"/v1/status/leader": `"x"`, "/v1/nodes": "[" + strings.Join(nodes, ",") + "]"}}
	n, err := survey.AskNomad(t.Context(), s.reader(t, survey.Config{}))
	if err != nil || n.Nodes.Err != nil || !n.Nodes.Value.More || len(n.Nodes.Value.Ready) != survey.MaxNodes || n.Nodes.Value.With("docker") != survey.MaxNodes {
		t.Errorf("got %d nodes, more=%t, %v %v", len(n.Nodes.Value.Ready), n.Nodes.Value.More, n.Nodes.Err, err)
	}
	for _, r := range s.asked {
		if r.URL.Path == "/v1/nodes" && r.URL.Query().Get("per_page") == "" {
			t.Errorf("%s has no bound", r.URL)
		}
	}
}

// An endless answer is cut off, and so is an error's text.
func TestHTTP_Bounds(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/error" {
			w.WriteHeader(http.StatusTeapot)
		}
		for junk := []byte(strings.Repeat(" \x1b[31m", 1<<10)); ; {
			if _, err := w.Write(junk); err != nil {
				return
			}
			if r.URL.Path == "/spaces" {
				junk = []byte(strings.Repeat(" ", 1<<16))
			}
		}
	}))
	t.Cleanup(s.Close)
	r, err := survey.New(survey.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if _, err := r.Read(t.Context(), "/error", &out); err == nil || len(err.Error()) > 400 || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("got %v", err)
	}
	large := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`"`))
		for junk := []byte(strings.Repeat("x", 1<<20)); ; {
			if _, err := w.Write(junk); err != nil {
				return
			}
		}
	}))
	t.Cleanup(large.Close)
	if r, err = survey.New(survey.Config{Address: large.URL}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context(), "/", &out); !errors.Is(err, wadi.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

// The token goes to the address alone: not along with a redirect, and not into an error.
func TestHTTP_Token(t *testing.T) {
	const secret = "5f1b6c1e-0000-4000-8000-000000000001"
	elsewhere := &system{answers: map[string]string{"/x": `"got it"`}}
	other := httptest.NewServer(elsewhere)
	t.Cleanup(other.Close)
	here := &system{answers: map[string]string{"/v1/x": `"good"`}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, other.URL+"/x", http.StatusTemporaryRedirect)
			return
		}
		here.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	r, err := survey.New(survey.Config{Address: server.URL, Header: survey.NomadToken, Token: func() string { return secret }, Region: "eu"})
	if err != nil {
		t.Fatal(err)
	}
	var out string
	if _, err := r.Read(t.Context(), "/v1/x?a=b", &out); err != nil || out != "good" {
		t.Errorf("got %q, %v", out, err)
	}
	if got := here.asked[0]; got.Header.Get("X-Nomad-Token") != secret || !cmp.Equal(got.URL.Query(), url.Values{"a": {"b"}, "region": {"eu"}}) {
		t.Errorf("got %s %v", got.URL, got.Header)
	}
	if _, err := r.Read(t.Context(), "/away", &out); err == nil || strings.Contains(err.Error(), secret) || len(elsewhere.asked) > 0 {
		t.Errorf("redirected: %v, %d", err, len(elsewhere.asked))
	}
	for _, address := range []string{"", "nomad:4646", "ftp://x", "http://", "http://a b"} {
		if _, err := survey.New(survey.Config{Address: address}); err == nil {
			t.Errorf("%q is taken for an address", address)
		}
	}
}

// What Consul answers with and without ACLs, Connect and rights.
func TestAskConsul(t *testing.T) {
	const self = `{"Config":{"NodeName":"n","Datacenter":"dc9","Version":"1.22.7"},"xDS":{"SupportedProxies":{"envoy":["1.35.9"]},"Ports":{"Plaintext":8502,"TLS":-1}}}`
	s := &system{answers: map[string]string{
		"/v1/status/leader": `"x"`, "/v1/agent/self": self, "/v1/acl/token/self": "401 ACL support disabled",
		"/v1/agent/connect/ca/roots":       "500 Connect must be enabled in order to use this endpoint",
		"/v1/config/proxy-defaults/global": `{"Config":{"envoy_cluster_json":"{}","protocol":"http"}}`,
	}}
	c, err := survey.AskConsul(t.Context(), s.reader(t, survey.Config{}))
	want := survey.ConsulAgent{Node: "n", Datacenter: "dc9", Version: "1.22.7", Envoys: []string{"1.35.9"}, GRPC: true}
	if err != nil || c.ACLs.Value || c.ACLs.Err != nil || c.Connect.Err != nil || len(c.Connect.Value) > 0 || !cmp.Equal(c.Agent.Value, want) ||
		!slices.Equal(c.Overrides.Value, []string{"envoy_cluster_json"}) {
		t.Errorf("got %+v, %v", c, err)
	}
	s = &system{answers: map[string]string{
		"/v1/status/leader": `"x"`, "/v1/agent/self": "403 Permission denied: token lacks permission", "/v1/acl/token/self": "403 token does not exist: ACL not found",
		"/v1/agent/connect/ca/roots": `{"Roots":[{"Active":true,"NotAfter":"2036-11-27T21:54:17Z"}]}`,
	}}
	c, err = survey.AskConsul(t.Context(), s.reader(t, survey.Config{}))
	if err != nil || !c.ACLs.Value || c.ACLs.Err != nil || !c.Agent.Refused() || c.Overrides.Err != nil || len(c.Connect.Value) != 1 || c.Connect.Value[0].NotAfter.Year() != 2036 {
		t.Errorf("got %+v, %v", c, err)
	}
}

// A clock is called wrong when it must be, whatever the answer's delay and the header's
// whole seconds hide.
func TestClock(t *testing.T) {
	for offset, want := range map[time.Duration]bool{0: false, 3 * time.Second: false, 10 * time.Second: true, -10 * time.Second: true} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(offset).UTC().Format(http.TimeFormat))
			_, _ = w.Write([]byte(`"leader"`))
		}))
		t.Cleanup(s.Close)
		r, err := survey.New(survey.Config{Address: s.URL})
		if err != nil {
			t.Fatal(err)
		}
		c, err := survey.AskConsul(t.Context(), r)
		got := c.Clock.Beyond(5 * time.Second)
		if err != nil || (got != 0) != want || want && (got > 0) != (offset > 0) {
			t.Errorf("%v: got %v of %+v, %v", offset, got, c.Clock, err)
		}
	}
}

// A node that measures seldom is not taken for one whose clock is behind.
func TestNodeClocks(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := time.Now()
		switch r.URL.Query().Get("node_id") {
		case "behind":
			at = at.Add(-time.Minute)
		case "ahead":
			at = at.Add(time.Minute)
		case "seldom":
			at = at.Truncate(time.Hour).Add(-time.Hour)
		case "refused":
			http.Error(w, "Permission denied", http.StatusForbidden)
			return
		}
		_, _ = fmt.Fprintf(w, `{"Timestamp":%d}`, at.UnixNano())
	}))
	t.Cleanup(s.Close)
	r, err := survey.New(survey.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	var nodes []survey.Node
	for _, id := range []string{"fine", "behind", "ahead", "seldom", "refused"} {
		nodes = append(nodes, survey.Node{ID: id})
	}
	got := survey.NodeClocks(t.Context(), r, nodes)
	if diff := cmp.Diff([]string{"ahead", "behind"}, survey.Wrong(got, 10*time.Second)); diff != "" || len(got) != 4 {
		t.Errorf("%v %s", got, diff)
	}
	for i := range 100 {
		nodes = append(nodes, survey.Node{ID: fmt.Sprint("fine", i)})
	}
	if many := survey.NodeClocks(t.Context(), r, nodes); len(many) != survey.MaxClocks-1 { // One is refused.
		t.Errorf("%d clocks were read", len(many))
	}
}
