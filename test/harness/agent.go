package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/freeport"
)

// Agent is a wadi agent in a process of its own.
type Agent struct {
	Name    string
	Config  string // File.
	LogFile string
	API     string // host:port
	Gateway string // host:port
	Metrics string // host:port
	Client  *api.Client
	Tokens  Tokens   // That its commands and Client are sent with; empty without ACLs.
	Env     []string // Additional environment of its next start.
	Netns   string   // File of the network namespace of the agent and its commands; empty: the test's.

	// Dial connects in the agent's network, for requests to its gateway; nil: in the test's.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	bin  string // The folder of its programs.
	cmd  *exec.Cmd
	done chan struct{} // Closed when the process has ended; ExitCode is valid then.
}

// NewAgent writes the configuration of another agent. It does not start it.
func (s *Stack) NewAgent(name, extra string) (*Agent, error) {
	ports, err := freeport.Ports(4)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		Name: name, bin: s.Bin,
		Config: filepath.Join(s.Dir, name+".hcl"), LogFile: filepath.Join(s.Dir, name+".log"),
		API: loopback(ports[0]), Gateway: loopback(ports[1]), Metrics: loopback(ports[2]),
	}
	mesh := net.JoinHostPort(s.Cluster.HostIP, strconv.Itoa(ports[3]))
	auth := wadi.AuthNone
	if s.Cluster.ACLs {
		auth, a.Tokens = wadi.AuthNomad, Tokens{Nomad: Management, Consul: Management}
	}
	hcl := fmt.Sprintf(`log_level = "debug"
name      = %q
advertise = %q
http {
  address             = %q
  auth                = %q
  requests_per_second = 10000 # All tests are one caller.
}
metrics {
  address = %q
}
gateway {
  address = %q
  domain  = %q
}
activator {
  address = %q
}
`, name, s.Cluster.HostIP, a.API, auth, a.Metrics, a.Gateway, Domain, mesh) + s.Cluster.AgentConfig(s.Bin)
	tokens := ""
	if s.Cluster.ACLs {
		tokens = s.AgentTokens.config()
	}
	for i, text := range []string{hcl, tokens, extra} {
		if text == "" {
			continue
		}
		if err := os.WriteFile(a.configs()[i], []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("write configuration: %w", err)
		}
	}
	if a.Client, err = api.New(api.Config{Address: "http://" + a.API, Token: a.Tokens.Nomad, ConsulToken: a.Tokens.Consul}); err != nil {
		return nil, err
	}
	s.agents = append(s.agents, a)
	return a, nil
}

// configs are the files of its configuration; later ones win. Only the first is always
// there.
func (a *Agent) configs() []string {
	base := strings.TrimSuffix(a.Config, ".hcl")
	return []string{a.Config, base + "-tokens.hcl", base + "-extra.hcl", a.amended()}
}

func (a *Agent) amended() string { return strings.TrimSuffix(a.Config, ".hcl") + "-amended.hcl" }

// Amend has HCL win over the rest of its configuration, from its next start on. It replaces
// what Amend was called with before; with an empty text nothing is amended.
func (a *Agent) Amend(hcl string) error {
	if err := os.WriteFile(a.amended(), []byte(hcl), 0o600); err != nil {
		return fmt.Errorf("amend configuration: %w", err)
	}
	return nil
}

// TokensFile is the file of its configuration with its tokens, in a stack with ACLs. What
// else it holds beats the rest.
func (a *Agent) TokensFile() string { return a.configs()[1] }

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Start runs the agent, and waits for nothing. The agent runs until it is stopped, even
// after ctx has ended.
func (a *Agent) Start(ctx context.Context) error {
	log, err := os.OpenFile(a.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	args := []string{"agent"}
	for _, file := range a.configs() {
		if exists(file) {
			args = append(args, "-config", file)
		}
	}
	a.cmd = a.command(context.WithoutCancel(ctx), args...) // Stop ends it.
	a.cmd.Stdout, a.cmd.Stderr = log, log
	a.cmd.Env = append(append(cleanEnv(), "GOTRACEBACK=all"), a.Env...)
	a.cmd.SysProcAttr = childAttr()
	if err := a.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", a.Name, err)
	}
	cmd, done := a.cmd, make(chan struct{})
	a.done = done
	go func() {
		_ = cmd.Wait() // See ExitCode.
		close(done)
	}()
	return nil
}

// command is a command of wadi in the agent's network.
func (a *Agent) command(ctx context.Context, args ...string) *exec.Cmd {
	program := filepath.Join(a.bin, "wadi")
	if a.Netns == "" {
		return exec.CommandContext(ctx, program, args...)
	}
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + a.Netns, program}, args...)...)
}

func exists(file string) bool { _, err := os.Stat(file); return err == nil }

// cleanEnv is the environment without variables that configure an agent.
func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "NOMAD_") && !strings.HasPrefix(kv, "CONSUL_") && !strings.HasPrefix(kv, "WADI_") {
			env = append(env, kv)
		}
	}
	return env
}

// UsePrograms has the agent's next start, and the services that are deployed by it then, use
// the programs in a folder, such as those of another version.
func (a *Agent) UsePrograms(bin string) error {
	text, err := os.ReadFile(a.Config)
	if err == nil {
		err = os.WriteFile(a.Config, []byte(strings.ReplaceAll(string(text), filepath.Join(a.bin, "queue-proxy"), filepath.Join(bin, "queue-proxy"))), 0o600)
	}
	if err != nil {
		return fmt.Errorf("change the programs of %s: %w", a.Name, err)
	}
	a.bin = bin
	return nil
}

// WaitLeader waits until there is a leader and this agent is healthy.
func (a *Agent) WaitLeader(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, Long)
	defer cancel()
	for {
		_, err := a.Client.Leader(ctx)
		if err == nil {
			err = a.Client.Health(ctx)
		}
		if err == nil {
			return nil
		}
		select {
		case <-a.done:
			return fmt.Errorf("%s exited with %d:\n%s", a.Name, a.cmd.ProcessState.ExitCode(), a.Tail(30))
		case <-ctx.Done():
			return fmt.Errorf("wait for a leader: %w\n%s", err, a.Tail(30))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Tail returns the last lines of the agent's log.
func (a *Agent) Tail(n int) string {
	b, err := os.ReadFile(a.LogFile)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// PID is the agent's process ID.
func (a *Agent) PID() int { return a.cmd.Process.Pid }

// Signal sends a signal to the agent.
func (a *Agent) Signal(sig os.Signal) error { return a.cmd.Process.Signal(sig) }

// Kill ends the agent with SIGKILL and waits.
func (a *Agent) Kill() error {
	err := a.cmd.Process.Kill()
	<-a.done
	return err
}

// Done is closed when the agent's process has ended.
func (a *Agent) Done() <-chan struct{} { return a.done }

// ExitCode of an agent that has ended.
func (a *Agent) ExitCode() int { return a.cmd.ProcessState.ExitCode() }

// Stop shuts the agent down, and kills it when ctx or [Long] ends. Stopping an agent that
// does not run is no error.
func (a *Agent) Stop(ctx context.Context) error {
	if a.cmd == nil || a.cmd.Process == nil {
		return nil
	}
	select {
	case <-a.done:
		return nil
	default:
	}
	if err := a.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", a.Name, err)
	}
	select {
	case <-a.done:
		if code := a.cmd.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("%s exited with %d:\n%s", a.Name, code, a.Tail(20))
		}
		return nil
	case <-ctx.Done():
	case <-time.After(Long):
	}
	return errors.Join(fmt.Errorf("stop %s: it did not end by itself:\n%s", a.Name, a.Tail(20)), a.Kill())
}
