// Package nomadtest has Nomads for tests: a real server with ACLs, which a development
// cluster does not have, and an in-memory one.
//
// It promises that each ends with its test. No job runs in them: they have no node.
package nomadtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/internal/toolchain"
)

// Management is the secret ID of a server's management token.
const Management = "2b778dd9-f5f1-6f29-b4b4-9a5fa948757a"

// Server is a running Nomad server with ACLs.
type Server struct {
	URL string
	API *api.Client // With the management token.

	tb     testing.TB
	tokens int
}

// Start starts a server and waits until it is the leader. It ends with the test. If
// Nomad can't be found the test fails: a skipped test would look like a passed one.
func Start(tb testing.TB) *Server {
	tb.Helper()
	tools, missing := toolchain.Locate(tb.Context())
	if tools.Nomad == "" {
		tb.Fatalf("find nomad: %v", missing)
	}
	ports, err := freeport.Ports(3)
	must(tb, "find ports", err)
	dir := tb.TempDir()
	config, log := filepath.Join(dir, "nomad.hcl"), filepath.Join(dir, "nomad.log")
	must(tb, "write Nomad's configuration", os.WriteFile(config, serverHCL(filepath.Join(dir, "data"), ports), 0o600))
	run(tb, log, tools.Nomad, "agent", "-config", config)
	s := &Server{URL: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), tb: tb}
	s.API, err = api.NewClient(&api.Config{Address: s.URL, SecretID: Management})
	must(tb, "make a client", err)
	s.bootstrap(log)
	return s
}

// run runs a program until the test ends, with its output in the file log.
func run(tb testing.TB, log, program string, args ...string) {
	tb.Helper()
	out, err := os.Create(log)
	must(tb, "make a log", err)
	defer func() { _ = out.Close() }()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(tb, "start "+program, cmd.Start())
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// serverHCL is the configuration of a server with ACLs. ports are those of HTTP, RPC and
// Serf.
func serverHCL(data string, ports []int) []byte {
	return fmt.Appendf(nil, `data_dir  = %q
bind_addr = "127.0.0.1"
log_level = "warn"
ports {
  http = %d
  rpc  = %d
  serf = %d
}
advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}
server {
  enabled          = true
  bootstrap_expect = 1
}
acl {
  enabled = true
}
consul {
  server_auto_join = false
  auto_advertise   = false
}
`, data, ports[0], ports[1], ports[2])
}

// bootstrap waits until the server is the leader, and makes the management token.
func (s *Server) bootstrap(log string) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), time.Minute)
	defer cancel()
	for {
		_, _, err := s.API.ACLTokens().BootstrapOpts(Management, (&api.WriteOptions{}).WithContext(ctx))
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			text, _ := os.ReadFile(log)
			s.tb.Fatalf("nomad has no leader after a minute: %v\n%s", err, text)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Namespace makes namespaces with these names.
func (s *Server) Namespace(names ...string) {
	s.tb.Helper()
	for _, name := range names {
		_, err := s.API.Namespaces().Register(&api.Namespace{Name: name}, nil)
		must(s.tb, "make namespace "+name, err)
	}
}

// Allow sets the rules of a policy.
func (s *Server) Allow(policy, rules string) {
	s.tb.Helper()
	_, err := s.API.ACLPolicies().Upsert(&api.ACLPolicy{Name: policy, Rules: rules}, nil)
	must(s.tb, "write policy "+policy, err)
}

// Token makes a token with policies, and returns its secret.
func (s *Server) Token(policies ...string) string {
	s.tb.Helper()
	s.tokens++
	t, _, err := s.API.ACLTokens().Create(&api.ACLToken{Name: fmt.Sprintf("test %d", s.tokens), Type: "client", Policies: policies}, nil)
	must(s.tb, "make a token", err)
	return t.SecretID
}

// Job registers a job with an instance group that nothing can place, and returns its
// modify index.
func (s *Server) Job(namespace, id string, count int, meta map[string]string) uint64 {
	s.tb.Helper()
	job := api.NewServiceJob(id, id, "global", 50)
	job.Namespace, job.Meta = &namespace, meta
	task := api.NewTask("web", "raw_exec")
	task.Config = map[string]any{"command": "/bin/true"}
	job.AddTaskGroup(api.NewTaskGroup("instance", count).AddTask(task))
	out, _, err := s.API.Jobs().Register(job, &api.WriteOptions{Namespace: namespace})
	must(s.tb, "register "+id+" in "+namespace, err)
	return out.JobModifyIndex
}

func must(tb testing.TB, what string, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatalf("%s: %v", what, err)
	}
}
