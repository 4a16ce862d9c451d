//go:build e2e

package traffic_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/apitls/certtest"
	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/internal/toolchain"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// domain is that of the hosts at the API gateway.
const domain = ".example.com"

// apiGateway is the API gateway of docs/mesh.md, with an Envoy of its own.
type apiGateway struct {
	name, route string // The route's entry, as the document has it.
	plain, tls  string // host:port
	roots       *x509.CertPool
	admin, logs string
}

// startAPIGateway writes the entries of the document and runs the gateway's Envoy until the
// test ends. Only ports and files are the test's.
func startAPIGateway(t *testing.T) apiGateway {
	t.Helper()
	ports, err := freeport.Ports(3)
	harnesstest.Must(t, "find ports", err)
	dir := t.TempDir()
	authority := certtest.NewAuthority(t)
	files := authority.Files(t, dir, 2, "*"+domain)
	g := apiGateway{
		name: "edge", plain: loopback(ports[0]), tls: loopback(ports[1]), admin: loopback(ports[2]),
		roots: x509.NewCertPool(), logs: filepath.Join(dir, "envoy.log"),
	}
	g.roots.AppendCertsFromPEM([]byte(authority.PEM))
	root, err := harness.Root()
	harnesstest.Must(t, "find the document", err)
	_, section, _ := strings.Cut(read(t, filepath.Join(root, "docs", "mesh.md")), "\n## Consul's API gateway\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(blocks) != 3 {
		t.Fatalf("the document has %d entries, want a certificate, a gateway and a route", len(blocks))
	}
	ours := strings.NewReplacer("/etc/edge/tls.pem", files.Cert, "/etc/edge/tls.key", files.Key,
		"8080", strconv.Itoa(ports[0]), "8443", strconv.Itoa(ports[1]))
	for _, b := range blocks {
		writeEntry(t, ours.Replace(b[1]))
	}
	g.route = blocks[2][1]
	g.run(t, filepath.Join(dir, "bootstrap.json"))
	return g
}

// writeEntry writes a config entry, and deletes it at the end. It sends JSON as Consul's own
// command does: the API's types know fields that this version of Consul refuses.
func writeEntry(t *testing.T, text string) {
	t.Helper()
	file, diags := hclsyntax.ParseConfig([]byte(text), "entry.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("%v in\n%s", diags, text)
	}
	attrs, diags := file.Body.JustAttributes()
	entry := map[string]json.RawMessage{}
	for name, a := range attrs {
		v, more := a.Expr.Value(nil)
		diags = append(diags, more...)
		b, err := ctyjson.Marshal(v, v.Type())
		harnesstest.Must(t, "encode an entry", err)
		entry[name] = b
	}
	if diags.HasErrors() {
		t.Fatalf("%v in\n%s", diags, text)
	}
	var kind, name string
	harnesstest.Must(t, "read the entry's kind", errors.Join(json.Unmarshal(entry["Kind"], &kind), json.Unmarshal(entry["Name"], &name)))
	_, err := stack.Consul.Raw().Write("/v1/config", entry, nil, nil)
	harnesstest.Must(t, "write "+kind+" "+name, err)
	t.Cleanup(func() {
		_, err := stack.Consul.ConfigEntries().Delete(kind, name, nil)
		harnesstest.Must(t, "delete "+kind+" "+name, err)
	})
}

// run starts the gateway's Envoy as Consul's command tells it to.
func (g apiGateway) run(t *testing.T, bootstrap string) {
	t.Helper()
	tools, _ := toolchain.Locate(t.Context())
	var stderr bytes.Buffer
	make := exec.CommandContext(t.Context(), tools.Consul, "connect", "envoy", "-gateway=api", "-register", "-service="+g.name, "-bootstrap",
		"-http-addr="+stack.Cluster.ConsulAddr, "-grpc-addr="+stack.Cluster.ConsulGRPC, "-admin-bind="+g.admin)
	make.Env, make.Stderr = append(os.Environ(), "PATH="+strings.Join(append(tools.Dirs(), os.Getenv("PATH")), ":")), &stderr
	text, err := make.Output()
	harnesstest.Must(t, "make the API gateway's bootstrap: "+stderr.String(), err)
	t.Cleanup(func() {
		harnesstest.Must(t, "deregister the API gateway", stack.Consul.Agent().ServiceDeregister(g.name))
	})
	harnesstest.Must(t, "write it", os.WriteFile(bootstrap, text, 0o600))
	log, err := os.Create(g.logs)
	harnesstest.Must(t, "make a log", err)
	defer log.Close()
	envoy := exec.Command(tools.Envoy, "-c", bootstrap, "--concurrency", "1", "--disable-hot-restart", "-l", "warning")
	envoy.Stdout, envoy.Stderr = log, log
	envoy.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	harnesstest.Must(t, "start the API gateway's Envoy", envoy.Start())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the API gateway's log:\n%s", read(t, g.logs))
		}
		_ = envoy.Process.Kill()
		_ = envoy.Wait() // It was killed.
	})
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	harnesstest.Must(t, "read a file", err)
	return string(b)
}

// way calls a host by the gateway.
func (g apiGateway) way(t *testing.T, host string) way {
	return way{name: "API gateway", client: clientOf(t, g.plain, nil), url: "http://" + host + domain + "/"}
}

// clientOf sends all requests to one address.
func clientOf(t *testing.T, addr string, roots *x509.CertPool) *http.Client {
	tr := &http.Transport{MaxIdleConnsPerHost: 64, TLSClientConfig: &tls.Config{RootCAs: roots}, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// get sends a request that must be answered with 200, and returns the revision.
func (w way) get(t *testing.T) (revision string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harnesstest.WaitLong)
	defer cancel()
	res, err := w.send(ctx)
	harnesstest.Must(t, "call "+w.url+" through "+w.name, err)
	harnesstest.WantStatus(t, res, http.StatusOK)
	return res.Header.Get("Hello-Revision")
}

// waitStatus waits until a way answers with a status.
func (w way) waitStatus(t *testing.T, want int) {
	t.Helper()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), harnesstest.WaitLong)
		defer cancel()
		res, err := w.send(ctx)
		if err == nil && res.Status != want {
			err = fmt.Errorf("status %d of %s, want %d: %.300s", res.Status, w.url, want, res.Body)
		}
		return err
	})
}

// A service behind an API gateway of Consul's is split, tagged and woken as for other
// callers in the mesh, and judged by the gateway's name.
func TestAPIGateway(t *testing.T) {
	t.Parallel()
	const name, one, two = "hello", "hello-00001", "hello-00002"
	allow := func(callers string) string { return "intentions {\n    allow = [" + callers + "]\n  }\n  " }
	both := func(callers string, targets ...string) string {
		return versionWith(name, map[string]string{"VERSION": "2"}, `window = "1h"`, allow(callers)+harnesstest.Traffic(targets...))
	}
	g := startAPIGateway(t)
	stack.Deploy(t, versionWith(name, map[string]string{"VERSION": "1"}, `window = "1h"`, allow(`"edge"`)))
	stack.Deploy(t, both(`"edge"`, "80 "+one, "20 "+two+" canary"))
	filters := regexp.MustCompile(`(?s)Filters = \{.*?\n    \}`).FindString(g.route)
	for host, inside := range map[string]string{
		"canary-hello": filters + "\n Services = [{ Name = \"canary-hello\" }]",
		"bare-hello":   `Services = [{ Name = "hello" }]`,
	} {
		writeEntry(t, fmt.Sprintf("Kind = \"http-route\"\nName = %q\nParents = [{ Kind = \"api-gateway\", Name = %q }]\nHostnames = [%q]\nRules = [{\n%s\n}]\n", host, g.name, host+domain, inside))
	}
	plain, tagged, bare := g.way(t, "hello"), g.way(t, "canary-hello"), g.way(t, "bare-hello")
	byHeader := plain
	byHeader.header = http.Header{wadi.HeaderTag: {"canary"}}
	for _, w := range []way{plain, tagged, bare} {
		w.waitStatus(t, http.StatusOK)
	}

	t.Run("TLS", func(t *testing.T) {
		secure := way{name: "API gateway", client: clientOf(t, g.tls, g.roots), url: "https://hello" + domain + "/"}
		secure.waitStatus(t, http.StatusOK)
	})
	t.Run("tags", func(t *testing.T) {
		for what, w := range map[string]way{"host": tagged, "header": byHeader} {
			if got := w.get(t); got != two {
				t.Errorf("by the tag's %s: answered by %s, want %s", what, got, two)
			}
		}
	})
	t.Run("split", func(t *testing.T) {
		const requests = 2000
		percent := float64(countOf(t, plain, requests)[two]) * 100 / requests
		if math.Abs(percent-20) > 5.5 { // Six standard deviations.
			t.Errorf("%.2f %% of %d requests went to the revision with 20 %%", percent, requests)
		}
	})
	t.Run("timeouts", func(t *testing.T) {
		slow := func(w way, want int) {
			w.url += "?sleep=16s"
			w.waitOnce(t, want)
		}
		var both sync.WaitGroup
		both.Go(func() { slow(plain, http.StatusOK) })
		both.Go(func() { slow(bare, http.StatusGatewayTimeout) })
		both.Wait()
	})
	t.Run("weights under load", func(t *testing.T) {
		l := startLoad(t, 20*time.Millisecond, plain)
		for _, share := range []int{40, 60, 80} {
			stack.Deploy(t, both(`"edge"`, fmt.Sprintf("%d %s", 100-share, one), fmt.Sprintf("%d %s canary", share, two)))
		}
		stack.Deploy(t, both(`"edge"`, "100 "+two+" canary"))
		l.waitAll(t, two, 20)
		l.wantAll(t, 50)
	})
	t.Run("from zero", func(t *testing.T) {
		stack.Deploy(t, both(`"edge"`, "50 "+one, "50 "+two+" canary"))
		for what, w := range map[string]way{"host": tagged, "header": byHeader} {
			toZeroAt(t, g, two)
			if got := w.get(t); got != two {
				t.Errorf("by the tag's %s: answered by %s, want %s", what, got, two)
			}
		}
		toZeroAt(t, g, one)
		toZeroAt(t, g, two)
		l := startLoad(t, 100*time.Millisecond, plain)
		l.waitMix(t, 40, one, two)
		l.wantAll(t, 1)
	})
	t.Run("intentions", func(t *testing.T) {
		stack.Deploy(t, both(`"others"`, "100 "+two+" canary"))
		plain.waitStatus(t, http.StatusForbidden) // By the instance's Envoy.
		toZeroAt(t, g, two)
		res, err := plain.send(t.Context())
		if err != nil || res.Status != http.StatusForbidden || !strings.Contains(res.Body, g.name) {
			t.Errorf("at zero: got status %d, %v, want 403 with the caller's name %s: %s", res.Status, err, g.name, res.Body)
		}
	})
}

// waitOnce sends one request, and wants its status.
func (w way) waitOnce(t *testing.T, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harnesstest.WaitLong)
	defer cancel()
	if res, err := w.send(ctx); err != nil || res.Status != want {
		t.Errorf("%s: got status %d after %v, %v, want %d: %.300s", w.url, res.Status, res.Took, err, want, res.Body)
	}
}

// toZeroAt is toZero for an API gateway.
func toZeroAt(t *testing.T, g apiGateway, revision string) {
	t.Helper()
	stack.ZeroByHand(t, revision)
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { return g.forgot(t.Context(), revision) })
}

// forgot returns an error while the gateway's Envoy knows an address of a revision.
func (g apiGateway) forgot(ctx context.Context, revision string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.admin+"/clusters", nil)
	if err != nil {
		return err
	}
	res, err := harness.Do(http.DefaultClient, req)
	if err != nil {
		return err
	}
	if res.Status != http.StatusOK {
		return errors.New(res.Body)
	}
	return harnesstest.KnownAddress(res.Body, revision)
}
