package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/survey"
)

// expect compares findings with lines such as "warn nodes: text", of which the text has to
// begin so.
func expect(t *testing.T, name string, got []wadi.Finding, want ...string) {
	t.Helper()
	var lines []string
	for _, f := range got {
		lines = append(lines, fmt.Sprintf("%s %s: %s", f.Level, f.About, f.What))
		if (f.Remedy == "") != (f.Level == wadi.LevelOK) {
			t.Errorf("%s: remedy %q of %+v", name, f.Remedy, f)
		}
	}
	for i := range max(len(lines), len(want)) {
		if i >= len(lines) || i >= len(want) || !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, strings.Join(lines, "\n"), strings.Join(want, "\n"))
			return
		}
	}
}

// node has healthy drivers; a name after a dash is that of an unhealthy one.
func node(id string, drivers ...string) survey.Node {
	n := survey.Node{ID: id, Pool: "default", Version: "1.11.3", Drivers: map[string]survey.Driver{}}
	for _, d := range drivers {
		name, broken := strings.CutPrefix(d, "-")
		n.Drivers[name] = survey.Driver{Healthy: !broken, Why: map[bool]string{true: "no daemon"}[broken]}
	}
	return n
}

func TestAboutNodes(t *testing.T) {
	all := Needs{Pool: "default", QueueProxy: "docker", Sidecar: Sidecar{Driver: "docker"}, Mesh: true, Bridge: true}
	host := Needs{Pool: "default", QueueProxy: "raw_exec", Sidecar: Sidecar{Driver: "docker"}}
	one, two, elsewhere := node("1", "docker", "raw_exec"), node("2", "-docker", "raw_exec"), node("9")
	elsewhere.Pool = "front"
	for name, tt := range map[string]struct {
		nodes survey.Nodes
		needs Needs
		want  []string
	}{
		"all is well": {survey.Nodes{Ready: []survey.Node{one}}, all, []string{"ok nodes: 1 in the node pool default takes jobs, and has what services need"}},
		"no node":     {survey.Nodes{}, host, []string{"fail nodes: no node in the node pool default takes jobs"}},
		"a driver is missing on one": {survey.Nodes{Ready: []survey.Node{one, two}}, all,
			[]string{"warn nodes: 1 of the 2 in the node pool default that take jobs have no healthy driver docker, which runs the queue-proxy (queue_proxy): no daemon: no instance starts there"}},
		"a driver is missing on all": {survey.Nodes{Ready: []survey.Node{two, node("3")}}, all,
			[]string{"fail nodes: all 2 in the node pool default that take jobs have no healthy driver docker, which runs the queue-proxy (queue_proxy): no daemon: no instance can start"}},
		"that of Envoy is another": {survey.Nodes{Ready: []survey.Node{two}}, Needs{Pool: "default", QueueProxy: "raw_exec", Sidecar: Sidecar{Driver: "docker"}, Mesh: true, Bridge: true},
			[]string{"fail nodes: all 1 in the node pool default that take jobs have no healthy driver docker, which runs Envoy in the mesh (mesh.sidecar_task)"}},
		"plugins and Consul": {survey.Nodes{Ready: []survey.Node{one, node("2", "docker")}, WithoutPlugins: []string{"1"}, WithoutConsul: []string{"1", "2"}}, all,
			[]string{"warn nodes: 1 of the 2 in the node pool default that take jobs lack CNI plugins", "fail nodes: all 2 in the node pool default that take jobs have no Consul with Connect and gRPC"}},
		"another pool":       {survey.Nodes{Ready: []survey.Node{one, elsewhere}, WithoutPlugins: []string{"9"}, WithoutConsul: []string{"9"}}, all, []string{"ok nodes: 1 in the node pool default takes jobs"}},
		"all pools":          {survey.Nodes{Ready: []survey.Node{one, elsewhere}}, Needs{Pool: "all", QueueProxy: "docker"}, []string{"warn nodes: 1 of the 2 in the node pool all"}},
		"another datacenter": {survey.Nodes{Ready: []survey.Node{one}}, Needs{Pool: "default", In: []string{"eu-*"}}, []string{"fail nodes: no node in the node pool default (datacenter eu-*) takes jobs"}},
		"neither is needed":  {survey.Nodes{Ready: []survey.Node{two}, WithoutPlugins: []string{"2"}, WithoutConsul: []string{"2"}}, host, []string{"ok nodes"}},
	} {
		expect(t, name, aboutNodes(survey.Known[survey.Nodes]{Value: tt.nodes}, tt.needs), tt.want...)
	}
	expect(t, "away", aboutNodes(survey.Known[survey.Nodes]{Err: wadi.ErrUnavailable}, all), "warn nodes: they can't be read: unavailable")
	expect(t, "refused", aboutNodes(survey.Known[survey.Nodes]{Err: wadi.ErrForbidden}, all))
}

func TestAboutNomadClients(t *testing.T) {
	of := func(server string, nodes ...survey.Node) (n survey.Nomad) {
		n.Servers.Value = []survey.Server{{Version: "2.0.5"}, {Version: server}}
		n.Nodes.Value.Ready = nodes
		return n
	}
	expect(t, "newer", aboutNomadClients(of("1.10.9", node("1"))), "warn nodes: 1 node has a newer Nomad than a server, which has 1.10.9")
	expect(t, "the same", aboutNomadClients(of("1.11.3", node("1"))))
	expect(t, "of before", aboutNomadClients(of("1.11.3-dev+x", node("1"))))
	expect(t, "not a version", aboutNomadClients(of("x", survey.Node{Version: "…"})))
}

func TestAboutOld(t *testing.T) {
	var n survey.Nomad
	var c survey.Consul
	n.Servers.Value, c.Agent.Value.Version = []survey.Server{{Version: "1.9.7"}, {Version: "1.10.0"}}, "1.17.0"
	expect(t, "Nomad", aboutOldNomad(n), "fail Nomad: its version is 1.9.7; Wadi supports 1.10 and newer")
	expect(t, "Consul", aboutOldConsul(c), "fail Consul: its version is 1.17.0; Wadi supports 1.18 and newer")
	expect(t, "not known", append(aboutOldNomad(survey.Nomad{}), aboutOldConsul(survey.Consul{})...))
}

func TestAboutKillTimeout(t *testing.T) {
	client := func(bound time.Duration) survey.Known[survey.NomadAgent] {
		return survey.Known[survey.NomadAgent]{Value: survey.NomadAgent{Client: bound > 0, MaxKillTimeout: bound}}
	}
	needs := Needs{Drain: 310 * time.Second}
	expect(t, "too short", aboutKillTimeout(client(30*time.Second), needs), "warn Nomad: the client at this agent's nomad.address ends every task after 30s, though an instance may drain for 5m10s")
	expect(t, "enough", aboutKillTimeout(client(310*time.Second), needs))
	expect(t, "a server", aboutKillTimeout(client(0), needs))
	expect(t, "no service", aboutKillTimeout(client(time.Second), Needs{}))
	expect(t, "refused", aboutKillTimeout(survey.Known[survey.NomadAgent]{Err: wadi.ErrForbidden}, needs))
}

func TestAboutImageGC(t *testing.T) {
	client := func(gc survey.ImageGC) survey.Known[survey.NomadAgent] {
		return survey.Known[survey.NomadAgent]{Value: survey.NomadAgent{Client: true, ImageGC: gc}}
	}
	expect(t, "Nomad's default", aboutImageGC(client(survey.ImageGC{On: true, Delay: 3 * time.Minute})),
		"warn Nomad: the client at this agent's nomad.address removes an image 3m after its last container: a service that was at zero for longer")
	expect(t, "a week", aboutImageGC(client(survey.ImageGC{On: true, Delay: 168 * time.Hour})))
	expect(t, "off", aboutImageGC(client(survey.ImageGC{Delay: 3 * time.Minute})))
	expect(t, "refused", aboutImageGC(survey.Known[survey.NomadAgent]{Err: wadi.ErrForbidden}))
}

// An image counts when a node got it twice, and not for instances that started together.
func TestAboutPulledAgain(t *testing.T) {
	began := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	pull := func(node, image string, after time.Duration) survey.Pull {
		return survey.Pull{Node: node, NodeName: "name-" + node, Image: image, At: began.Add(after)}
	}
	for name, tt := range map[string]struct {
		pulls []survey.Pull
		want  string
	}{
		"nothing":         {nil, "map[]"},
		"on two nodes":    {[]survey.Pull{pull("1", "a:1", 0), pull("2", "a:1", time.Hour)}, "map[]"},
		"two images":      {[]survey.Pull{pull("1", "a:1", 0), pull("1", "a:2", time.Hour)}, "map[]"},
		"started at once": {[]survey.Pull{pull("1", "a:1", 0), pull("1", "a:1", 2*time.Second)}, "map[]"},
		"latest":          {[]survey.Pull{pull("1", "a:latest", 0), pull("1", "a:latest", time.Hour)}, "map[]"},
		"again":           {[]survey.Pull{pull("1", "b:1", time.Hour), pull("1", "b:1", 0), pull("1", "a:1", 0), pull("1", "a:1", 4*time.Minute)}, "map[name-1:[a:1 b:1]]"},
		"by digest":       {[]survey.Pull{pull("1", "a@sha256:0", 0), pull("1", "a@sha256:0", time.Hour)}, "map[name-1:[a@sha256:0]]"},
	} {
		if got := fmt.Sprint(again(tt.pulls)); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
	expect(t, "one", aboutPulledAgain(map[string][]string{"one": {"a:1"}}), "warn nodes: 1 node pulled an image again that an instance had started with there in the last hours")
	expect(t, "none", aboutPulledAgain(nil))
}

func TestAboutMesh(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	root := func(left time.Duration) survey.Known[[]survey.Root] {
		return survey.Known[[]survey.Root]{Value: []survey.Root{{NotAfter: now.Add(-time.Hour)}, {Active: true, NotAfter: now.Add(left)}}}
	}
	agent := survey.Known[survey.ConsulAgent]{Value: survey.ConsulAgent{Version: "1.22.7", GRPC: true, Envoys: []string{"1.35.9", "1.34.13"}}}
	needs := Needs{Mesh: true}
	year := 365 * 24 * time.Hour
	for name, tt := range map[string]struct {
		consul survey.Consul
		needs  Needs
		want   []string
	}{
		"well":             {survey.Consul{Connect: root(year), Agent: agent}, needs, nil},
		"off":              {survey.Consul{Agent: agent}, needs, []string{"fail mesh: Consul Connect is off"}},
		"off, not needed":  {survey.Consul{}, Needs{}, nil},
		"not known":        {survey.Consul{Connect: survey.Known[[]survey.Root]{Err: errors.New("x")}, Agent: survey.Known[survey.ConsulAgent]{Err: errors.New("x")}}, needs, nil},
		"the root ends":    {survey.Consul{Connect: root(29 * 24 * time.Hour), Agent: agent}, needs, []string{"warn mesh: the root certificate expires on 2030-01-30 00:00 UTC, in 29 days"}},
		"the root ended":   {survey.Consul{Connect: root(-time.Hour), Agent: agent}, needs, []string{"fail mesh: the root certificate expired on 2029-12-31 23:00 UTC"}},
		"no gRPC":          {survey.Consul{Connect: root(year)}, needs, []string{"warn mesh: the Consul agent at consul.address serves no gRPC"}},
		"overridden":       {survey.Consul{Connect: root(year), Agent: agent, Overrides: survey.Known[[]string]{Value: []string{"a", "b"}}}, needs, []string{"warn mesh: proxy-defaults sets a, b for every Envoy"}},
		"Envoy is old":     {survey.Consul{Connect: root(year), Agent: agent}, Needs{Mesh: true, Sidecar: Sidecar{Version: "1.33.0"}}, []string{"fail Envoy: its version 1.33.0 is too old: Consul 1.22.7 supports 1.35, 1.34"}},
		"Envoy is new":     {survey.Consul{Connect: root(year), Agent: agent}, Needs{Mesh: true, Sidecar: Sidecar{Version: "1.36.4"}}, []string{"warn Envoy: its version 1.36.4 is newer than what Consul was tested with"}},
		"Envoy is fine":    {survey.Consul{Connect: root(year), Agent: agent}, Needs{Mesh: true, Sidecar: Sidecar{Version: "1.34.0"}}, []string{"ok Envoy: its version is 1.34.0"}},
		"Envoy is strange": {survey.Consul{Connect: root(year), Agent: agent}, Needs{Mesh: true, Sidecar: Sidecar{Version: "latest"}}, nil},
	} {
		expect(t, name, aboutMesh(tt.consul, tt.needs, now), tt.want...)
	}
}

func TestAboutClocks(t *testing.T) {
	at := func(low, high time.Duration) survey.Offset { return survey.Offset{Low: low, High: high, Known: true} }
	expect(t, "near", aboutClock("Nomad", at(-5*time.Second, 6*time.Second)))
	expect(t, "unknown", aboutClock("Nomad", survey.Offset{Low: time.Hour, High: time.Hour}))
	expect(t, "ahead", aboutClock("Nomad", at(7*time.Second, 8*time.Second)), "warn clocks: that of Nomad is at least 7s ahead of the asking agent's: events")
	expect(t, "behind", aboutClock("Consul", at(-3*time.Minute, -2*time.Minute)), "fail clocks: that of Consul is at least 2m0s behind the asking agent's: certificates")
	now := time.Now()
	expect(t, "a report of just before", aboutAgentClock(now.Add(-reportAge-4*time.Second), now, now.Add(time.Second)))
	expect(t, "an older agent", aboutAgentClock(time.Time{}, now, now))
	expect(t, "another agent", aboutAgentClock(now.Add(-time.Hour), now, now.Add(time.Second)), "fail clocks: that of this agent is at least 59m58s behind the asking agent's")
	expect(t, "nodes", aboutNodeClocks(map[string]survey.Offset{"a": at(0, time.Second), "b": at(9*time.Second, 10*time.Second), "c": at(-20*time.Second, -19*time.Second)}),
		"warn clocks: those of 2 of 3 nodes differ from the asking agent's, by 19s or more")
	expect(t, "good nodes", aboutNodeClocks(map[string]survey.Offset{"a": at(0, time.Second)}))
}

func TestSidecarOf(t *testing.T) {
	for text, want := range map[string]Sidecar{
		``: {Driver: "docker"},
		`{"Driver":"docker","Config":{"image":"hub:5000/envoyproxy/envoy:v1.36.4"}}`:                  {Driver: "docker", Image: "hub:5000/envoyproxy/envoy:v1.36.4", Version: "1.36.4"},
		`{"Config":{"image":"envoy:distroless-v1.34.13@sha256x"}}`:                                    {Driver: "docker", Image: "envoy:distroless-v1.34.13@sha256x", Version: "1.34.13"},
		`{"Config":{"image":"envoyproxy/envoy:v${NOMAD_envoy_version}"}}`:                             {Driver: "docker", Image: "envoyproxy/envoy:v${NOMAD_envoy_version}"},
		`{"Driver":"raw_exec","Config":{"command":"/opt/envoy"}}`:                                     {Driver: "raw_exec", Version: "of /opt/envoy"},
		`{"Driver":"raw_exec","Config":{"command":"/bin/sh","args":["-c","cd /x; exec envoy -c y"]}}`: {Driver: "raw_exec", Version: "of envoy"},
		`{"Driver":"raw_exec","Config":{"command":"/bin/sh","args":["-c","exec /usr/envoyish"]}}`:     {Driver: "raw_exec"},
	} {
		if got := SidecarOf(json.RawMessage(text), func(p string) string { return "of " + p }); got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

func TestNeedsOf(t *testing.T) {
	minute := wadi.Duration(time.Minute)
	plain := wadi.Service{NodePool: "default", Datacenters: []string{"dc1"}, Mesh: wadi.MeshOff, Network: wadi.Host}
	routes := map[string]wadi.Route{"a": {Revisions: map[string]wadi.RouteRevision{"a-00001": {Timeout: wadi.Timeouts{Request: minute}, Mesh: wadi.MeshEnvoy}}}}
	if got, want := NeedsOf(plain, routes), (Needs{Pool: "default", In: []string{"dc1"}, Mesh: true, Bridge: true, Drain: 70 * time.Second}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := NeedsOf(plain, nil), (Needs{Pool: "default", In: []string{"dc1"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("no service: got %+v, want %+v", got, want)
	}
	if got := NeedsOf(wadi.Service{Mesh: wadi.MeshOff, Network: wadi.Bridge}, nil); !got.Bridge || got.Mesh {
		t.Errorf("bridge by default: got %+v", got)
	}
}

// What is left behind is believed when a second look, after a moment, has it too.
func TestCheckStray(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		c := &Cluster{Log: hclog.NewNullLogger(), logged: map[Kind][]string{}}
		c.Stray = func(context.Context) ([]Stray, error) {
			looks++
			all := []Stray{{StrayKey, "wadi/spec/a"}, {OtherJob, "x-00001@default"}, {OtherJob, "y-00001@default"}}
			if looks%2 == 1 {
				all = append(all, Stray{StrayJob, "half-00001@default"})
			}
			return all, nil
		}
		expect(t, "twice", c.checkStray(t.Context()),
			"warn left behind: 1 key below the prefix in Consul that no service has; the agent's log", "warn left behind: 2 jobs of another installation")
		soon, cancel := context.WithTimeout(t.Context(), strayAgain/2)
		defer cancel()
		expect(t, "no time for a second look", c.checkStray(soon), "warn left behind: it can't be looked for: context deadline exceeded")
		c.Stray = func(context.Context) ([]Stray, error) { return nil, errors.New("x") }
		expect(t, "not known", c.checkStray(t.Context()), "warn left behind: it can't be looked for: x")
		c.Stray = func(context.Context) ([]Stray, error) { return nil, wadi.ErrOwnRight }
		expect(t, "refused", c.checkStray(t.Context()))
		c.Stray = func(context.Context) ([]Stray, error) { return nil, nil }
		expect(t, "none", c.checkStray(t.Context()))
	})
}

func TestAboutCertFile(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	file := func(name string, ends ...time.Duration) CertFile {
		t.Helper()
		var out []byte
		for _, end := range ends {
			out = append(out, certificate(t, now.Add(end))...)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, out, 0o600); err != nil {
			t.Fatal(err)
		}
		return CertFile{Setting: "nomad.cert_file", Path: path}
	}
	day := 24 * time.Hour
	expect(t, "good", aboutCertFile(file("a", 20*day), now))
	expect(t, "the second ends", aboutCertFile(file("b", 20*day, 10*day+time.Hour), now), "warn certificate of nomad.cert_file: it expires on ")
	expect(t, "ended", aboutCertFile(file("c", -day), now), "fail certificate of nomad.cert_file: it expired on ")
	authorities := file("e", -day, 20*day)
	expect(t, "a chain with one that ended", aboutCertFile(authorities, now), "fail certificate of nomad.cert_file: it expired on ")
	authorities.Setting = "nomad.ca_file"
	expect(t, "an authority that was replaced", aboutCertFile(authorities, now))
	authorities = file("f", -day, 10*day+time.Hour, 20*day)
	authorities.Setting = "nomad.ca_file"
	expect(t, "an authority that ends", aboutCertFile(authorities, now), "warn certificate of nomad.ca_file: it expires on ")
	authorities = file("g", -day, -2*day)
	authorities.Setting = "nomad.ca_file"
	expect(t, "all authorities ended", aboutCertFile(authorities, now), "fail certificate of nomad.ca_file: it expired on ")
	expect(t, "none in it", aboutCertFile(file("d"), now), "fail certificate of nomad.cert_file: "+dir+"/d has no certificate")
	expect(t, "a folder", aboutCertFile(CertFile{"x", dir}, now), "fail certificate of x: "+dir+" is no file of certificates")
	expect(t, "missing", aboutCertFile(CertFile{"x", dir + "/no"}, now), "fail certificate of x: stat ")
	expect(t, "endless", aboutCertFile(CertFile{"x", "/dev/zero"}, now), "fail certificate of x: /dev/zero is no file")
}

func certificate(t *testing.T, end time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-time.Hour), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestAboutLeaves(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	life := 72 * time.Hour
	expect(t, "none", aboutLeaves(time.Time{}, 0, now))
	expect(t, "old", aboutLeaves(now.Add(7*time.Hour), life, now))
	expect(t, "not renewed", aboutLeaves(now.Add(5*time.Hour), life, now), "fail mesh: the agent's certificate was not renewed, and expires on")
	expect(t, "ended", aboutLeaves(now.Add(-time.Second), life, now), "fail mesh: the agent's certificate was not renewed, and expired on")
}

// However often callers ask, the cluster is asked once in a while, and no longer than the
// bound.
func TestCluster_Bounded(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/status/leader" {
			asked.Add(1)
		}
		http.Error(w, "no", http.StatusServiceUnavailable)
	}))
	t.Cleanup(s.Close)
	c := &Cluster{Log: hclog.NewNullLogger(), Needs: func() Needs { return Needs{} },
		Stray: func(context.Context) ([]Stray, error) { return nil, nil },
		Readers: func() (ofNomad, ofConsul *survey.HTTP, err error) {
			ofNomad, err = survey.New(survey.Config{Address: s.URL})
			return ofNomad, ofNomad, err
		}}
	for range 5 {
		expect(t, "away", c.findings(t.Context()))
	}
	if asked := asked.Load(); asked != 2 { // Nomad's and Consul's leader.
		t.Errorf("asked %d times", asked)
	}
	bad := &Cluster{Needs: c.Needs, Readers: func() (_, _ *survey.HTTP, err error) { return nil, nil, errors.New("nomad: no such file") }}
	expect(t, "no files", bad.findings(t.Context()), "fail agent: the cluster can't be examined: nomad: no such file")
}
