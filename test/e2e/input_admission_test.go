//go:build e2e

package e2e_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wadi-run/wadi/internal/apitls/certtest"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// policy is a webhook in a process like an operator's: HTTPS, with client certificates.
type policy struct {
	*httptest.Server
	answer atomic.Pointer[http.HandlerFunc]
}

func (p *policy) set(h http.HandlerFunc) { p.answer.Store(&h) }

func verdict(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

// startPolicy runs a webhook, and returns the admission block for it.
func startPolicy(t *testing.T, ca certtest.Authority, name, settings string) (*policy, string) {
	t.Helper()
	f := ca.Files(t, t.TempDir(), 1, "127.0.0.1")
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	harnesstest.Must(t, "load the webhook's certificate", err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca.PEM))
	p := &policy{}
	p.set(verdict(`{"allowed": true}`))
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*p.answer.Load())(w, r) }))
	p.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	p.StartTLS()
	t.Cleanup(p.Close)
	return p, fmt.Sprintf("admission %q {\n  url = %q\n  ca_file = %q\n  cert_file = %q\n  key_file = %q\n  %s\n}\n", name, p.URL, f.CA, f.Cert, f.Key, settings)
}

// Webhooks change and judge what is submitted to an agent, and no failure of theirs is a
// permission.
func TestInput_Admission(t *testing.T) {
	t.Parallel()
	ca := certtest.NewAuthority(t)
	judge, judgeBlock := startPolicy(t, ca, "judge", `timeout = "1s"`)
	team, teamBlock := startPolicy(t, ca, "team", "kind = \"mutate\"\n  on_failure = \"ignore\"\n  timeout = \"1s\"")
	agent, err := stack.NewAgent("wadi-admission", judgeBlock+teamBlock+"admission_meta {\n  require = [\"team\"]\n}\nadmission_tasks {\n  drivers = [\"raw_exec\"]\n}\n")
	harnesstest.Must(t, "configure an agent", err)
	harnesstest.Must(t, "start an agent", agent.Start(t.Context()))
	t.Cleanup(func() {
		if err := agent.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(agent.Tail(40))
		}
	})
	harnesstest.Must(t, "wait for it", agent.WaitLeader(t.Context()))

	dir := t.TempDir()
	file := dir + "/a.hcl"
	harnesstest.Must(t, "write a service", os.WriteFile(file, []byte(hello("admitted", options{max: 2})), 0o600))
	run := func(t *testing.T, command ...string) harness.Result {
		t.Helper()
		ran, err := agent.Wadi(t.Context(), dir, append(command, "a.hcl")...)
		harnesstest.Must(t, "run wadi", err)
		return ran
	}
	t.Cleanup(func() { stack.Remove(t, "admitted") })

	t.Run("refused", func(t *testing.T) {
		team.set(verdict(`{"allowed": true, "patch": [{"op": "add", "path": "/service/meta/team", "value": "payments"}]}`))
		judge.set(verdict(`{"allowed": false, "message": "freeze until Monday"}`))
		for _, command := range [][]string{{"validate"}, {"apply", "-detach"}} {
			wantRefused(t, run(t, command...), "a.hcl:1,1", `admission webhook "judge" refuses it: freeze until Monday`)
		}
		wantNothing(t, "admitted")
	})
	t.Run("the agent's own rules", func(t *testing.T) {
		team.set(verdict(`{"allowed": true}`))
		judge.set(verdict(`{"allowed": true}`))
		wantRefused(t, run(t, "apply", "-detach"), `meta: this cluster requires the key "team"`)
		wantNothing(t, "admitted")
	})
	t.Run("a bad change", func(t *testing.T) {
		team.set(verdict(`{"allowed": true, "patch": [{"op": "replace", "path": "/service/scale/max", "value": 100000}]}`))
		wantRefused(t, run(t, "apply", "-detach"), "a.hcl:", `scale.max: admission webhook "team" made it wrong: must be between 0 and 100`)
		wantNothing(t, "admitted")
	})
	t.Run("no usable answer", func(t *testing.T) {
		team.set(verdict(`{"allowed": true, "patch": [{"op": "add", "path": "/service/meta/team", "value": "payments"}]}`))
		for why, h := range map[string]http.HandlerFunc{
			"took longer than 1s": func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
			},
			"more than 1048576 bytes": verdict(`{"allowed": true, "message": "` + strings.Repeat("x", 2<<20) + `"}`),
			"status is 302":           func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/allow", http.StatusFound) },
			"JSON of an answer":       verdict("<html>"),
		} {
			judge.set(h)
			wantRefused(t, run(t, "validate"), `admission webhook "judge" gives no usable answer`, why)
		}
		wantNothing(t, "admitted")
	})
	t.Run("changed", func(t *testing.T) {
		asked := make(chan string, 16)
		judge.set(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			asked <- fmt.Sprint(string(body), r.Header)
			verdict(`{"allowed": true, "message": "mind the cost"}`)(w, r)
		})
		team.set(verdict(`{"allowed": true, "patch": [{"op": "add", "path": "/service/meta/team", "value": "payments"},
			{"op": "add", "path": "/instance/Tasks/0/Meta", "value": {"owner": "payments"}}]}`))
		if ran := run(t, "apply"); ran.Code != 0 || !strings.Contains(ran.Stdout+ran.Stderr, `admission webhook "judge": mind the cost`) {
			t.Fatalf("got %v", ran)
		}
		stored, err := agent.Client.Service(t.Context(), "admitted")
		harnesstest.Must(t, "read the service", err)
		if stored.Service.Meta["team"] != "payments" {
			t.Errorf("meta is %v", stored.Service.Meta)
		}
		job, _, err := stack.Nomad.Jobs().Info("admitted-00001", nil)
		harnesstest.Must(t, "read the job", err)
		var owner string
		for _, task := range job.TaskGroups[0].Tasks {
			if task.Name == "web" {
				owner = task.Meta["owner"]
			}
		}
		if owner != "payments" {
			t.Errorf("the task's meta in Nomad has owner %q, want what the webhook set", owner)
		}
		question := <-asked
		if !strings.Contains(question, `"team":"payments"`) || !strings.Contains(question, `"owner":"payments"`) || !json.Valid([]byte(question[:strings.LastIndex(question, "map[")])) {
			t.Errorf("the judge was asked %s", question)
		}
	})
	t.Run("away", func(t *testing.T) {
		team.Close()
		judge.set(verdict(`{"allowed": true}`))
		// One that may be ignored is, and what it would have set is missing.
		wantRefused(t, run(t, "apply", "-detach"), `meta: this cluster requires the key "team"`)
		judge.Close()
		harnesstest.Must(t, "write a service", os.WriteFile(file, []byte(hello("admitted", options{max: 3, service: `meta = { team = "payments" }`})), 0o600))
		wantRefused(t, run(t, "apply", "-detach"), `admission webhook "judge" gives no usable answer: it can't be reached`)
		if now, err := agent.Client.Service(t.Context(), "admitted"); err != nil || now.Service.Scale.Max != 2 {
			t.Errorf("the service has max %d, %v; want 2 as before", now.Service.Scale.Max, err)
		}
	})
}
