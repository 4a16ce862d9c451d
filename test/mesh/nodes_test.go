//go:build e2e

package mesh_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	consulapi "github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/consul/consultest"
	"github.com/wadi-run/wadi/internal/devcluster"
	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/internal/nomad/nomadtest"
	"github.com/wadi-run/wadi/internal/toolchain"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Three agents on three nodes, each with a Consul agent of its own and with nothing
// configured but how to reach Nomad and to run the sidecar: each answers what the leader
// knows, and finds out how all are.
func TestAgents_OnThreeNodes(t *testing.T) {
	ports, err := freeport.Ports(1)
	must(t, "find a port", err)
	serf := ports[0]
	host := stack.Cluster.HostIP
	consul := consultest.StartAgent(t, false, fmt.Sprintf("node_name = \"node-1\"\nbind_addr = %q\nadvertise_addr = %[1]q\nports { serf_lan = %d }", host, serf))
	nomad := nomadtest.Start(t)
	nodes := &harness.Stack{Dir: t.TempDir(), Bin: stack.Bin, Cluster: &devcluster.Cluster{
		NomadAddr: nomad.URL, ConsulAddr: consul.URL, HostIP: host,
	}}
	agents := []*harness.Agent{onNode(t, nodes, nil, "agent-1", nomad.URL, consul.URL)}
	relayed := relay(t, nomad.URL)
	for i, c := range []*caller{callerA, callerB} {
		startConsulClient(t, c, fmt.Sprintf("node-%d", i+2), host, serf)
		agents = append(agents, onNode(t, nodes, c, fmt.Sprintf("agent-%d", i+2), relayed, "http://127.0.0.1:8500"))
	}
	for _, a := range agents {
		must(t, "start "+a.Name, a.Start(t.Context()))
		t.Cleanup(func() { must(t, "stop "+a.Name, a.Stop(context.WithoutCancel(t.Context()))) })
	}
	for _, a := range agents {
		must(t, "wait for "+a.Name, a.WaitLeader(t.Context()))
	}
	file := filepath.Join(t.TempDir(), "spread.hcl")
	must(t, "write a service", os.WriteFile(file, []byte(hello("spread", options{initial: 1, min: 1})), 0o600))
	ran, err := agents[0].Wadi(t.Context(), "", "apply", "-detach", file)
	if err != nil || ran.Code != 0 {
		t.Fatalf("apply: %v, %s", err, ran)
	}
	for _, a := range agents {
		eventually(t, waitLong, func() error { return everyAgentAnswers(t, a) })
	}
}

// everyAgentAnswers returns an error unless an agent shows what the leader knows, and the
// reports of all three agents.
func everyAgentAnswers(t *testing.T, a *harness.Agent) error {
	for _, args := range [][]string{{"explain", "spread"}, {"events", "-service", "spread"}} {
		ran, err := a.Wadi(t.Context(), "", args...)
		if err != nil || ran.Code != 0 || !strings.Contains(ran.Stdout, "spread") {
			return fmt.Errorf("%s: wadi %s: %v (%v)", a.Name, strings.Join(args, " "), ran, err)
		}
	}
	reports, err := a.Client.Doctor(t.Context())
	if err != nil {
		return fmt.Errorf("%s: %w", a.Name, err)
	}
	text, err := json.Marshal(reports)
	if err == nil && (len(reports.Agents) != 3 || strings.Contains(string(text), "can't ask it")) {
		err = fmt.Errorf("%s has %d reports: %s", a.Name, len(reports.Agents), text)
	}
	return err
}

// onNode configures an agent as a default installation has it, in the network of a caller;
// nil: in this one, on other ports.
func onNode(t *testing.T, s *harness.Stack, c *caller, name, nomadAddr, consulAddr string) *harness.Agent {
	t.Helper()
	const usual = "127.0.0.1:4747"
	extra := fmt.Sprintf("advertise = \"\"\nnomad {\n  address = %q\n  token   = %q\n}\nconsul {\n  address = %q\n}\n", nomadAddr, nomadtest.Management, consulAddr)
	if c == nil {
		extra += "http {\n  auth = \"nomad\"\n}\nactivator {\n  address = \"0.0.0.0:0\"\n}\n"
	} else {
		extra += fmt.Sprintf("http {\n  address = %q\n  auth    = \"nomad\"\n}\nmetrics {\n  address = \"0.0.0.0:4748\"\n}\nactivator {\n  address = \"0.0.0.0:4749\"\n}\n", usual)
	}
	a, err := s.NewAgent(name, extra)
	must(t, "configure "+name, err)
	a.Tokens.Nomad = nomadtest.Management
	config := api.Config{Address: "http://" + a.API, Token: a.Tokens.Nomad}
	if c != nil {
		a.Netns, a.API = c.Netns, usual
		config.Address = "http://" + usual
		config.HTTPClient = &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				return harnesstest.DialIn(ctx, c.Netns, addr)
			},
		}}
	}
	a.Client, err = api.New(config)
	must(t, "make its client", err)
	return a
}

// startConsulClient runs a client agent of Consul in the network of a caller, on the usual
// ports, and waits until it has joined.
func startConsulClient(t *testing.T, c *caller, node, server string, serf int) {
	t.Helper()
	alloc, _, err := stack.Nomad.Allocations().Info(c.Alloc, nil)
	must(t, "read the caller", err)
	tools, _ := toolchain.Locate(t.Context())
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "consul.log"))
	must(t, "make a log", err)
	defer log.Close()
	cmd := exec.Command("nsenter", "--net="+c.Netns, tools.Consul, "agent", "-data-dir="+filepath.Join(dir, "data"), "-node="+node,
		"-bind="+alloc.NetworkStatus.Address, "-client=127.0.0.1", fmt.Sprintf("-retry-join=%s:%d", server, serf), "-retry-interval=1s",
		"-hcl=connect { enabled = true }", "-log-level=warn", "-disable-host-node-id", "-dns-port=-1", "-grpc-port=8502")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, "start "+node, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	client, err := consulapi.NewClient(&consulapi.Config{Address: "http://127.0.0.1:8500", HttpClient: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return harnesstest.DialIn(ctx, c.Netns, addr)
		},
	}}})
	must(t, "make a client", err)
	eventually(t, waitLong, func() error {
		nodes, _, err := client.Catalog().Nodes(nil)
		for _, n := range nodes {
			if n.Node == node {
				return nil
			}
		}
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("not joined among %d nodes: %v\n%s", len(nodes), err, text)
	})
}
