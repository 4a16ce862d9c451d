package wadi_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/wadi-run/wadi"

// arrows says which packages of this module each package may import directly. Paths are
// below the module; "" is the root. Tests may import anything.
//
// A new arrow needs a line here, and a reason in docs/adr.
var arrows = map[string][]string{
	"":                              {},
	"calendar":                      {""},
	"secrets":                       {""},
	"jobspecs":                      {"", "calendar", "secrets"},
	"jobspecs/convert":              {"", "jobspecs"},
	"jobspecs/plainjob":             {""},
	"jobspecs/system":               {},
	"pulls":                         {""},
	"scheduler":                     {"", "calendar", "pulls", "scheduler/gate"},
	"scheduler/gate":                {""},
	"scheduler/replay":              {"", "scheduler"},
	"scheduler/simulate":            {"", "calendar", "scheduler"},
	"proxy":                         {"", "proxy/fields"},
	"proxy/clientcert":              {"", "proxy/fields"},
	"proxy/connlimit":               {"proxy", "proxy/list", "proxy/parking", "proxy/socket"},
	"proxy/deadline":                {"", "proxy", "proxy/lazy", "proxy/list"},
	"proxy/drain":                   {},
	"proxy/hangup":                  {"proxy/socket"},
	"proxy/limiter":                 {""},
	"proxy/lazy":                    {},
	"proxy/recording":               {},
	"proxy/replay":                  {},
	"proxy/stats":                   {"", "proxy/deadline"},
	"proxy/upstream":                {"", "proxy", "proxy/fields", "proxy/list", "proxy/replay", "proxy/socket"},
	"proxy/rules":                   {""},
	"proxy/admin":                   {},
	"proxy/accesslog":               {},
	"proxy/fields":                  {},
	"proxy/framing":                 {"proxy/fields", "proxy/socket"},
	"proxy/list":                    {},
	"proxy/parking":                 {"proxy/socket"},
	"proxy/socket":                  {},
	"proxy/queue":                   {"", "proxy", "proxy/accesslog", "proxy/admin", "proxy/clientcert", "proxy/deadline", "proxy/drain", "proxy/framing", "proxy/hangup", "proxy/limiter", "proxy/list", "proxy/queue/conns", "proxy/queue/diagnosis", "proxy/queue/firewall", "proxy/queue/probe", "proxy/recording", "proxy/replay", "proxy/stats", "proxy/upstream"},
	"proxy/queue/conns":             {"proxy", "proxy/drain", "proxy/framing", "proxy/parking", "proxy/socket"},
	"proxy/queue/diagnosis":         {"", "proxy/queue/probe"},
	"proxy/queue/firewall":          {""},
	"proxy/queue/probe":             {""},
	"proxy/activator":               {"", "internal/backlog", "proxy", "proxy/clientcert", "proxy/deadline", "proxy/hangup", "proxy/lazy", "proxy/list", "proxy/recording", "proxy/replay", "proxy/rules", "proxy/stats", "proxy/upstream"},
	"proxy/gateway":                 {"", "internal/certfile", "proxy", "proxy/activator", "proxy/connlimit", "proxy/deadline", "proxy/drain", "proxy/fields", "proxy/framing", "proxy/rules"},
	"agent":                         {"", "agent/admission", "agent/admission/images", "agent/admission/webhook", "agent/authz", "agent/config", "agent/control", "agent/doctor", "agent/loads", "agent/measure", "agent/membership", "agent/network", "agent/network/mesh", "agent/network/table", "agent/outcomes", "agent/plan", "agent/server", "api", "internal/acme", "internal/apitls", "internal/assets", "internal/consul", "internal/mesh", "internal/nomad", "internal/registry", "internal/store", "internal/survey", "internal/telemetry", "jobspecs", "proxy", "proxy/activator", "proxy/admin", "proxy/connlimit", "proxy/deadline", "proxy/drain", "proxy/gateway", "proxy/stats", "scheduler"},
	"agent/control":                 {"", "agent/network", "calendar", "scheduler"},
	"agent/authz":                   {"", "internal/consul", "internal/intentions", "internal/mesh"},
	"agent/config":                  {"", "agent/admission/rules", "jobspecs"},
	"agent/measure":                 {"", "agent/control", "internal/nomad", "internal/scrape", "internal/usage", "scheduler"},
	"agent/admission":               {"", "agent/admission/images", "agent/admission/rules", "agent/admission/webhook", "agent/plan", "api", "jobspecs", "secrets"},
	"agent/loads":                   {""},
	"agent/outcomes":                {""},
	"agent/plan":                    {"", "jobspecs", "scheduler", "secrets"},
	"agent/admission/images":        {"", "internal/imageref", "jobspecs"},
	"agent/admission/rules":         {"", "internal/imageref"},
	"agent/admission/webhook":       {""},
	"agent/server":                  {"", "agent/admission", "api", "proxy/recording", "scheduler/gate", "secrets"},
	"agent/doctor":                  {"", "agent/membership", "internal/consul", "internal/nomad", "internal/policies", "internal/registry", "internal/store", "internal/survey", "proxy/gateway"},
	"agent/membership":              {"", "agent/control", "internal/consul"},
	"agent/network":                 {""},
	"agent/network/mesh":            {"", "agent/network"},
	"agent/network/table":           {"", "agent/network"},
	"api":                           {""},
	"internal/acme":                 {"", "internal/certfile", "internal/store"},
	"internal/apitls":               {"internal/certfile"},
	"internal/assets":               {},
	"internal/certfile":             {},
	"internal/imageref":             {},
	"internal/registry":             {"", "internal/certfile", "internal/imageref"},
	"internal/nomad":                {"", "pulls", "secrets"},
	"internal/consul":               {""},
	"internal/policies":             {""},
	"internal/survey":               {""},
	"internal/setup":                {"", "internal/policies", "internal/survey", "jobspecs/system"},
	"internal/store":                {"", "internal/consul"},               // The codec's keys are Consul's.
	"internal/scrape":               {"", "internal/backlog", "scheduler"}, // It fills the windows that the scheduler averages.
	"internal/usage":                {},
	"internal/backlog":              {},
	"internal/mesh":                 {""},
	"internal/intentions":           {""},
	"internal/telemetry":            {"proxy/accesslog", "proxy/activator", "proxy/recording"},
	"internal/toolchain":            {},
	"internal/devcluster":           {"internal/devcluster/docker", "internal/devcluster/process", "internal/devcluster/slot", "internal/freeport", "internal/toolchain"},
	"internal/devcluster/docker":    {},
	"internal/devcluster/process":   {},
	"internal/devcluster/slot":      {"internal/devcluster/docker", "internal/toolchain"},
	"internal/freeport":             {},
	"jobspecs/examples/hello":       {},
	"test/apps/corners":             {"test/apps/launch"},
	"test/apps/grpcecho":            {"test/apps/launch"},
	"test/apps/inside":              {},
	"test/apps/launch":              {},
	"test/apps/ledger":              {"test/apps/launch"},
	"tools/dist":                    {"tools/programs"},
	"tools/ensure":                  {"internal/toolchain"},
	"tools/images":                  {"tools/programs"},
	"tools/openapi":                 {},
	"tools/programs":                {},
	"cmd/queue-proxy":               {"", "proxy/queue"},
	"cmd/wadi":                      anything,
	"test/harness":                  anything,
	"test/harness/harnesstest":      anything,
	"test/harness/faultproxy":       {},
	"test/harness/clock":            {},
	"test/harness/wire":             {},
	"test/harness/nodes":            anything,
	"test/demo":                     anything,
	"test/soak":                     anything,
	"test/chaos":                    anything,
	"test/acme":                     anything,
	"test/api":                      anything,
	"test/assets":                   anything,
	"test/e2e":                      anything,
	"test/faults":                   anything,
	"test/matrix":                   anything,
	"test/smuggling":                anything,
	"test/mesh":                     anything,
	"test/nodes":                    anything,
	"test/operations":               anything,
	"test/rolling":                  anything,
	"test/scaling":                  anything,
	"test/traffic":                  anything,
	"test/rights":                   anything,
	"test/attacks":                  anything,
	"test/doctor":                   anything,
	"test/dataplane":                anything,
	"test/dev":                      anything,
	"test/docker":                   anything,
	"test/images":                   anything,
	"test/harness/containers":       anything,
	"test/harness/containers/pause": {},
	"bench":                         anything,
	"internal/acme/acmetest":        anything,
	"internal/apitls/certtest":      {"internal/apitls"},
	"internal/consul/consultest":    anything,
	"internal/nomad/logtest":        anything,
	"internal/nomad/nomadtest":      anything,
	"agent/admission/admissiontest": anything,
	"agent/agenttest":               {},
	"agent/simulation":              {"", "agent/control", "internal/consul", "internal/store", "scheduler"},
	"proxy/proxytest":               {},
}

var anything = []string{"*"}

// foreign says what packages must not link at all, however indirectly. A prefix
// that is not ours stands for everything below it.
var foreign = map[string][]string{
	"":                {"github.com/hashicorp/", "github.com/prometheus/", "golang.org/x/", "net/http"},
	"pulls":           {"github.com/hashicorp/", "github.com/prometheus/", "net/http"},
	"scheduler":       {"github.com/hashicorp/", "github.com/prometheus/", "net/http", "os/exec"},
	"proxy":           {"github.com/hashicorp/nomad", "github.com/hashicorp/consul", "github.com/hashicorp/hcl"},
	"proxy/activator": {"go.opentelemetry.io/", "github.com/hashicorp/nomad", "github.com/hashicorp/consul", "github.com/hashicorp/hcl"},
	"proxy/gateway":   {"go.opentelemetry.io/", "github.com/hashicorp/nomad", "github.com/hashicorp/consul", "github.com/hashicorp/hcl"},
	"api":             {"github.com/hashicorp/", "github.com/prometheus/", "golang.org/x/", module + "/jobspecs", module + "/agent", module + "/internal/"},
	"agent/control":   {"github.com/hashicorp/nomad", "github.com/hashicorp/consul", module + "/proxy", module + "/internal/"},
	"cmd/queue-proxy": {"github.com/hashicorp/nomad", "github.com/hashicorp/consul", "github.com/hashicorp/hcl", "github.com/spiffe/", "go.opentelemetry.io/", module + "/agent", module + "/internal/"},
}

func golist(t *testing.T, args ...string) []string {
	t.Helper()
	return golistFor(t, "linux", args...)
}

// golistFor is the same of a build for another system.
func golistFor(t *testing.T, system string, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Env = append(os.Environ(), "GOOS="+system)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Fields(string(out))
}

func TestArrows(t *testing.T) {
	for _, line := range golist(t, "-tags", "e2e", "-f", `{{.ImportPath}}|{{join .Imports ","}}`, "./...") {
		path, imports, _ := strings.Cut(line, "|")
		pkg := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
		allowed, known := arrows[pkg]
		if !known {
			t.Errorf("package %q has no line in arrows", pkg)
			continue
		}
		may := map[string]bool{}
		for _, a := range allowed {
			may[a] = true
		}
		for _, imp := range strings.Split(imports, ",") {
			ours, ok := strings.CutPrefix(imp, module)
			if !ok || may["*"] {
				continue
			}
			if ours = strings.TrimPrefix(ours, "/"); !may[ours] {
				t.Errorf("%q imports %q", pkg, ours)
			}
		}
	}
}

func TestLinks(t *testing.T) {
	for pkg, bad := range foreign {
		for _, dep := range golist(t, "-deps", "./"+pkg) {
			for _, prefix := range bad {
				if dep == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(dep, strings.TrimSuffix(prefix, "/")+"/") {
					t.Errorf("%q links %s", pkg, dep)
				}
			}
		}
	}
}

// The commands are for everybody's computer; the agent and its data plane need Linux.
func TestLinks_OffLinux(t *testing.T) {
	for _, system := range []string{"darwin", "windows"} {
		for _, dep := range golistFor(t, system, "-deps", "./cmd/wadi") {
			for _, bad := range []string{"proxy", "agent/server", "internal/consul", "internal/devcluster"} {
				if dep == module+"/"+bad || strings.HasPrefix(dep, module+"/"+bad+"/") {
					t.Errorf("cmd/wadi links %s on %s", dep, system)
				}
			}
		}
	}
}
