//go:build e2e

package e2e_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
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

// admitting is an agent with two webhooks and two rules, and a file with a service.
type admitting struct {
	*harness.Agent
	judge, team *policy
	dir         string
}

func startAdmitting(t *testing.T) *admitting {
	t.Helper()
	ca, a := certtest.NewAuthority(t), &admitting{dir: t.TempDir()}
	var judge, team string
	a.judge, judge = startPolicy(t, ca, "judge", `timeout = "1s"`)
	a.team, team = startPolicy(t, ca, "team", "kind = \"mutate\"\n  on_failure = \"ignore\"\n  timeout = \"1s\"")
	var err error
	a.Agent, err = stack.NewAgent("wadi-admission", judge+team+"admission_meta {\n  require = [\"team\"]\n}\nadmission_tasks {\n  drivers = [\"raw_exec\"]\n}\n")
	harnesstest.Must(t, "configure an agent", err)
	harnesstest.Must(t, "start an agent", a.Start(t.Context()))
	t.Cleanup(func() {
		if err := a.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(a.Tail(40))
		}
	})
	harnesstest.Must(t, "wait for it", a.WaitLeader(t.Context()))
	a.write(t, options{max: 2})
	t.Cleanup(func() { stack.Remove(t, "admitted") })
	return a
}

// write writes the service's file.
func (a *admitting) write(t *testing.T, o options) {
	t.Helper()
	harnesstest.Must(t, "write a service", os.WriteFile(filepath.Join(a.dir, "a.hcl"), []byte(hello("admitted", o)), 0o600))
}

// run runs a command about the file.
func (a *admitting) run(t *testing.T, command ...string) harness.Result {
	t.Helper()
	ran, err := a.Wadi(t.Context(), a.dir, append(command, "a.hcl")...)
	harnesstest.Must(t, "run wadi", err)
	return ran
}

// sets is the answer of a webhook that sets the key team.
const sets = `{"allowed": true, "patch": [{"op": "add", "path": "/service/meta/team", "value": "payments"},
	{"op": "add", "path": "/instance/Tasks/0/Meta", "value": {"owner": "payments"}}]}`

// Webhooks change and judge what is submitted to an agent, and no failure of theirs is a
// permission. The steps build on each other.
func TestInput_Admission(t *testing.T) {
	t.Parallel()
	a := startAdmitting(t)
	t.Run("refused", func(t *testing.T) {
		a.team.set(verdict(sets))
		a.judge.set(verdict(`{"allowed": false, "message": "freeze until Monday"}`))
		for _, command := range [][]string{{"validate"}, {"apply", "-detach"}} {
			wantRefused(t, a.run(t, command...), "a.hcl:1,1", `admission webhook "judge" refuses it: freeze until Monday`)
		}
		wantNothing(t, "admitted")
	})
	t.Run("the agent's own rules", func(t *testing.T) {
		a.team.set(verdict(`{"allowed": true}`))
		a.judge.set(verdict(`{"allowed": true}`))
		wantRefused(t, a.run(t, "apply", "-detach"), `meta: this cluster requires the key "team"`)
		wantNothing(t, "admitted")
	})
	t.Run("a bad change", func(t *testing.T) {
		a.team.set(verdict(`{"allowed": true, "patch": [{"op": "replace", "path": "/service/scale/max", "value": 100000}]}`))
		wantRefused(t, a.run(t, "apply", "-detach"), "a.hcl:", `scale.max: admission webhook "team" made it wrong: must be between 0 and 100`)
		wantNothing(t, "admitted")
	})
	t.Run("no usable answer", a.unusable)
	t.Run("changed", a.changed)
	t.Run("away", a.away)
	t.Run("switched off by a reload", a.reloaded)
}

func (a *admitting) unusable(t *testing.T) {
	a.team.set(verdict(sets))
	for why, h := range map[string]http.HandlerFunc{
		"took longer than 1s": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		},
		"more than 1048576 bytes": verdict(`{"allowed": true, "message": "` + strings.Repeat("x", 2<<20) + `"}`),
		"status is 302":           func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/allow", http.StatusFound) },
		"JSON of an answer":       verdict("<html>"),
	} {
		a.judge.set(h)
		wantRefused(t, a.run(t, "validate"), `admission webhook "judge" gives no usable answer`, why)
	}
	wantNothing(t, "admitted")
}

func (a *admitting) changed(t *testing.T) {
	asked := make(chan string, 16)
	a.judge.set(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked <- string(body)
		verdict(`{"allowed": true, "message": "mind the cost"}`)(w, r)
	})
	a.team.set(verdict(sets))
	if ran := a.run(t, "apply"); ran.Code != 0 || !strings.Contains(ran.Stdout+ran.Stderr, `admission webhook "judge": mind the cost`) {
		t.Fatalf("got %v", ran)
	}
	stored, err := a.Client.Service(t.Context(), "admitted")
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
	if question := <-asked; !strings.Contains(question, `"team":"payments"`) || !strings.Contains(question, `"owner":"payments"`) || !json.Valid([]byte(question)) {
		t.Errorf("the judge was asked %s", question)
	}
}

// away: a webhook that may be ignored is, and what it would have set is missing.
func (a *admitting) away(t *testing.T) {
	a.team.Close()
	a.judge.set(verdict(`{"allowed": true}`))
	wantRefused(t, a.run(t, "apply", "-detach"), `meta: this cluster requires the key "team"`)
	a.judge.Close()
	a.write(t, options{max: 3, service: `meta = { team = "payments" }`})
	wantRefused(t, a.run(t, "apply", "-detach"), `admission webhook "judge" gives no usable answer: it can't be reached`)
	if now, err := a.Client.Service(t.Context(), "admitted"); err != nil || now.Service.Scale.Max != 2 {
		t.Errorf("the service has max %d, %v; want 2 as before", now.Service.Scale.Max, err)
	}
}

func (a *admitting) reloaded(t *testing.T) {
	harnesstest.Must(t, "write the configuration", os.WriteFile(strings.TrimSuffix(a.Config, ".hcl")+"-extra.hcl", nil, 0o600))
	harnesstest.Must(t, "reload", a.Signal(syscall.SIGHUP))
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if ran := a.run(t, "apply", "-detach"); ran.Code != 0 {
			return errors.New(ran.String())
		}
		return nil
	})
}
