package plainjob

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

const (
	checkInterval = 5 * time.Second
	checkTimeout  = time.Second // Of a probe without a timeout.

	// nomadsProgressDeadline is Nomad's default. It refuses a task whose end may take longer.
	nomadsProgressDeadline = 10 * time.Minute
)

// deployments leaves updates to Nomad's defaults, which Wadi switches off. longest is the
// longest kill timeout of a task, in nanoseconds.
func (p *converter) deployments(job object, longest int64) {
	delete(job, "Update")
	if longest > int64(nomadsProgressDeadline) {
		job["Update"] = object{"ProgressDeadline": longest + int64(time.Minute)}
	}
	p.note("An update is a deployment of Nomad's: one instance after the other. There are no revisions and no shares of the traffic.")
}

// ports replaces Wadi's ports by one for the app.
func (p *converter) ports(group object) {
	networks, _ := group["Networks"].([]any)
	if len(networks) == 0 {
		return
	}
	network, ok := networks[0].(object)
	if !ok {
		return
	}
	taken := map[string]bool{}
	var kept []any
	for _, key := range []string{"ReservedPorts", "DynamicPorts"} {
		ports, _ := network[key].([]any)
		ports = slices.DeleteFunc(ports, func(v any) bool { return isWadis(label(v)) })
		for _, v := range ports {
			taken[label(v)] = true
		}
		if network[key] = ports; len(ports) == 0 {
			delete(network, key)
		}
		if key == "DynamicPorts" {
			kept = ports
		}
	}
	for taken[p.port] {
		p.port += "_"
	}
	if p.spec.Mesh == wadi.MeshEnvoy {
		return // Envoy is the only entrance.
	}
	port := object{"Label": p.port}
	if p.spec.Network != wadi.Host {
		port["To"] = p.spec.Port
	}
	network["DynamicPorts"] = append([]any{port}, kept...)
	p.note("The port %q of the node is chosen by Nomad: callers find it in Consul, as service %q. For a fixed one set static in its block; then a node has room for one instance.", p.port, p.rev.Service)
}

func label(port any) string {
	o, _ := port.(object)
	s, _ := o["Label"].(string)
	return s
}

func isWadis(label string) bool {
	return slices.Contains([]string{wadi.PortTraffic, wadi.PortMetrics, wadi.PortAdmin, wadi.PortApp}, label)
}

// service makes the Consul service lead to the app, and its check ask the app.
func (p *converter) service(group object) error {
	services, _ := group["Services"].([]any)
	if len(services) == 0 {
		return errors.New("its job has no Consul service")
	}
	s, ok := services[0].(object)
	if !ok || s["Name"] != p.rev.Service {
		return fmt.Errorf("the first Consul service of its job is not %q", p.rev.Service)
	}
	delete(s, "Meta")
	delete(s, "Checks")
	if p.spec.Mesh == wadi.MeshEnvoy {
		s["PortLabel"] = strconv.Itoa(p.spec.Port)
		if connect, ok := s["Connect"].(object); ok {
			if sidecar, ok := connect["SidecarService"].(object); ok {
				delete(sidecar, "DisableDefaultTCPCheck") // It is the check of Envoy without Wadi's.
			}
		}
	} else {
		s["PortLabel"] = p.port
	}
	if check := p.check(); check != nil {
		s["Checks"] = []any{check}
	}
	return nil
}

// check asks the app what the queue-proxy's probe asked. nil: it can't, or the service has
// another one.
func (p *converter) check() object {
	probe, mesh := p.spec.Probe, p.spec.Mesh == wadi.MeshEnvoy
	timeout := checkTimeout
	if probe.Timeout > 0 {
		timeout = probe.Timeout.D()
	}
	check := object{"Name": "ready", "Interval": int64(checkInterval), "Timeout": int64(timeout)}
	switch {
	case probe.HTTP != "":
		check["Type"], check["Path"] = "http", probe.HTTP
		if mesh {
			check["Expose"] = true
		}
		p.note("Consul checks %s every %s, and takes only statuses from 200 to 299 for ready.", probe.HTTP, checkInterval)
	case mesh:
		p.note("Consul checks only whether Envoy listens: without the queue-proxy it can't reach a probe that is not HTTP.")
		return nil
	case probe.GRPC != nil:
		check["Type"] = "grpc"
		if *probe.GRPC != "" {
			check["GRPCService"] = *probe.GRPC
		}
		p.note("Consul asks the app's gRPC health service every %s.", checkInterval)
	default:
		check["Type"] = "tcp"
		p.note("Consul connects to the app's port every %s to see whether it is ready.", checkInterval)
	}
	return check
}

// reference is a variable of Nomad about one of Wadi's ports.
var reference = regexp.MustCompile(`(NOMAD_(?:HOST_)?(?:PORT|IP|ADDR)_)(` + strings.Join([]string{wadi.PortTraffic, wadi.PortApp, wadi.PortMetrics, wadi.PortAdmin}, "|") + `)\b`)

// rename makes references to Wadi's ports those to the app's.
func (p *converter) rename(job object) {
	lost := map[string]bool{}
	renameIn(job, func(s string) string {
		if s == wadi.PortApp || s == wadi.PortTraffic { // As in the ports of a Docker task.
			return p.port
		}
		return reference.ReplaceAllStringFunc(s, func(ref string) string {
			m := reference.FindStringSubmatch(ref)
			if gone := m[2] == wadi.PortMetrics || m[2] == wadi.PortAdmin || p.spec.Mesh == wadi.MeshEnvoy; gone {
				lost[ref] = true
				return ref
			}
			return m[1] + p.port
		})
	})
	for _, ref := range slices.Sorted(maps.Keys(lost)) {
		p.note("TO DO: the app uses %s, a port of the queue-proxy, which there is no more.", ref)
	}
}

// renameIn replaces every string in v, which is an object or a list.
func renameIn(v any, replace func(string) string) {
	switch v := v.(type) {
	case object:
		for k, e := range v {
			if s, ok := e.(string); ok {
				v[k] = replace(s)
				continue
			}
			renameIn(e, replace)
		}
	case []any:
		for i, e := range v {
			if s, ok := e.(string); ok {
				v[i] = replace(s)
				continue
			}
			renameIn(e, replace)
		}
	}
}

// behaviour notes what Wadi did beside the job.
func (p *converter) behaviour() {
	if p.spec.ConcurrencyLimit > 0 {
		p.note("Nothing limits an instance to %d requests at a time: the app or its load balancer has to.", p.spec.ConcurrencyLimit)
	}
	if p.spec.Mesh == wadi.MeshEnvoy {
		p.note("Envoy aborts a request after timeout.request, as before. With the service Wadi removes what it wrote into Consul about it, such as the protocol (%s) and intentions: write those that you need yourself.", p.spec.Protocol)
	} else {
		p.note("Nothing aborts a request after timeout.request (%s).", p.spec.Timeout.Request)
	}
	p.note("An instance that ends gets its kill_signal after shutdown_delay: the app itself has to finish its requests, within its kill_timeout.")
	if p.spec.Visibility == wadi.Public {
		p.note("The gateway has no route to this job: a load balancer of yours has to, for its domains and certificates too.")
	}
	p.note("The variables WADI_SERVICE and WADI_REVISION are not set; K_SERVICE, K_REVISION and K_CONFIGURATION are as they were.")
}
