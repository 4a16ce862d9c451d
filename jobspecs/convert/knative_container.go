package convert

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"go.yaml.in/yaml/v3"
)

// template reads the inside of spec.template.spec.
func (s *knativeService) template(n *yaml.Node) {
	for _, p := range pairs(n) {
		switch p.key {
		case "containerConcurrency":
			if v, ok := number(p.value); ok {
				s.limit = v
				continue
			}
			s.settings = append(s.settings, s.odd(p, "template.containerConcurrency", "it is no number"))
		case "timeoutSeconds":
			s.seconds(p, "request")
		case "responseStartTimeoutSeconds":
			s.seconds(p, "response_start")
		case "idleTimeoutSeconds":
			s.seconds(p, "idle")
		case "containers":
			s.containers(p.value)
		case "initContainers":
			for i, c := range elements(p.value) {
				s.tasks = append(s.tasks, s.task(c, fmt.Sprintf("init-%d", i+1), false, "lifecycle {\nhook = \"prestart\"\n}\n"))
			}
		default:
			s.settings = append(s.settings, s.drop(p, "template."+p.key))
		}
	}
}

func (s *knativeService) seconds(p pair, here string) {
	v, ok := number(p.value)
	if !ok {
		s.timeout = append(s.timeout, s.odd(p, "template."+p.key, "it is no number"))
		return
	}
	s.timeout = append(s.timeout, here+" = "+quoted(v+"s")+"\n")
}

// containers writes the tasks. The one with a port serves.
func (s *knativeService) containers(n *yaml.Node) {
	all := elements(n)
	serving := 0
	for i, c := range all {
		if field(c, "ports") != nil {
			serving = i
			break
		}
	}
	for i, c := range all {
		fallback := "app"
		if i > 0 {
			fallback = fmt.Sprintf("app-%d", i+1)
		}
		if len(all) > 1 && i == serving {
			name := scalarOf(c, "name")
			if name == "" {
				name = fallback
			}
			s.settings = append(s.settings, "serving_task = "+quoted(name)+"\n")
		}
		s.tasks = append(s.tasks, s.task(c, fallback, i == serving, ""))
	}
}

// task writes one container.
func (s *knativeService) task(c *yaml.Node, name string, serving bool, lifecycle string) string {
	var config, settings, env, resources []string
	for _, p := range pairs(c) {
		switch p.key {
		case "name":
			name = p.value.Value
		case "image":
			config = append(config, "image = "+quoted(p.value.Value)+"\n")
		case "command":
			config = append(config, "entrypoint = "+stringsOf(p.value)+"\n")
		case "args":
			config = append(config, "args = "+stringsOf(p.value)+"\n")
		case "workingDir":
			config = append(config, "work_dir = "+quoted(p.value.Value)+"\n")
		case "imagePullPolicy":
			if p.value.Value == "Always" {
				config = append(config, "force_pull = true\n")
			}
		case "env":
			env = s.env(p.value, serving)
		case "ports":
			if serving {
				settings = append(settings, s.ports(p)...)
				continue
			}
			settings = append(settings, s.odd(p, "container.ports", "only one container serves"))
		case "resources":
			resources = s.resources(p.value)
		case "readinessProbe":
			if serving {
				s.readProbe(p.value)
				continue
			}
			settings = append(settings, s.odd(p, "container.readinessProbe", "only the container that serves is probed"))
		case "securityContext":
			settings = append(settings, s.security(p))
		default:
			settings = append(settings, s.drop(p, "container."+p.key))
		}
	}
	out := "task " + quoted(name) + " {\ndriver = \"docker\"\n" + strings.Join(settings, "") + lifecycle
	for _, b := range []struct {
		head  string
		lines []string
	}{{"config", config}, {"env", env}, {"resources", resources}} {
		if len(b.lines) > 0 {
			out += "\n" + b.head + " {\n" + strings.Join(b.lines, "") + "}\n"
		}
	}
	return out + "}\n"
}

func stringsOf(n *yaml.Node) string {
	var all []string
	for _, e := range elements(n) {
		all = append(all, quoted(e.Value))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

func (s *knativeService) env(n *yaml.Node, serving bool) (lines []string) {
	seen := map[string]bool{}
	for _, e := range elements(n) {
		name, value := scalarOf(e, "name"), field(e, "value")
		p := pair{key: name, node: &yaml.Node{Kind: yaml.ScalarNode, Value: "env", Line: e.Line, Column: e.Column}, value: e}
		key := "env." + name
		if strings.HasPrefix(name, "WADI_") {
			key = "env.WADI_"
		}
		_, reserved := find(s.table, key)
		twice := seen[name]
		seen[name] = true
		switch {
		case twice:
			lines = append(lines, s.odd(p, "container.env", fmt.Sprintf("%q is set above already", name)))
		case reserved:
			if port, err := strconv.Atoi(scalarOf(e, "value")); name == "PORT" && serving && err == nil {
				s.port = strconv.Itoa(port)
			}
			lines = append(lines, s.drop(p, key))
		case field(e, "valueFrom") != nil:
			lines = append(lines, s.drop(p, "env.valueFrom"))
		case !hclsyntax.ValidIdentifier(name):
			lines = append(lines, s.odd(p, "container.env", "the name can't stand in HCL's env block; write env = { \"name\" = \"value\" }"))
		case value != nil && strings.Contains(value.Value, "$("):
			lines = append(lines, s.gone(s.file, e.Line, e.Column, "env.$(NAME)"), name+" = "+quoted(value.Value)+"\n")
		case value != nil:
			lines = append(lines, name+" = "+quoted(value.Value)+"\n")
		default:
			lines = append(lines, name+" = \"\"\n")
		}
	}
	return lines
}

func (s *knativeService) ports(p pair) (lost []string) {
	for i, port := range elements(p.value) {
		if i > 0 {
			lost = append(lost, s.add(s.file, port.Line, port.Column, "container.ports", "not carried over: a service has one port"))
			continue
		}
		if v, ok := number(orEmpty(field(port, "containerPort"))); ok {
			s.port = v
		}
		switch name := scalarOf(port, "name"); name {
		case "h2c":
			s.settings = append(s.settings, "protocol = \"h2c\"\n")
		case "", "http1":
		default:
			lost = append(lost, s.add(s.file, port.Line, port.Column, "container.ports", fmt.Sprintf("the name %q means nothing here; protocol is \"http1\", \"h2c\" or \"grpc\"", name)))
		}
	}
	return lost
}

func orEmpty(n *yaml.Node) *yaml.Node {
	if n == nil {
		return &yaml.Node{}
	}
	return n
}

func (s *knativeService) security(p pair) string {
	user := scalarOf(p.value, "runAsUser")
	out := ""
	if user != "" {
		out = "user = " + quoted(user) + "\n"
	}
	if len(pairs(p.value)) > 1 || user == "" {
		out = s.drop(p, "container.securityContext") + out
	}
	return out
}

// resources takes what is requested, or else the limits.
func (s *knativeService) resources(n *yaml.Node) (lines []string) {
	requests, limits := field(n, "requests"), field(n, "limits")
	either := func(name string) *yaml.Node {
		if v := field(requests, name); v != nil {
			return v
		}
		return field(limits, name)
	}
	if v := either("cpu"); v != nil {
		lines = append(lines, s.quantity(v, "cpu", "cpu", 1000)...)
		if len(lines) == 1 {
			lines = append([]string{s.gone(s.file, v.Line, v.Column, "resources.cpu")}, lines...)
		}
	}
	if v := either("memory"); v != nil {
		lines = append(lines, s.quantity(v, "memory", "memory", 1.0/(1<<20))...)
	}
	if most := field(limits, "memory"); most != nil && field(requests, "memory") != nil && most.Value != field(requests, "memory").Value {
		lines = append(lines, s.quantity(most, "memory", "memory_max", 1.0/(1<<20))...)
	}
	for _, list := range []*yaml.Node{requests, limits} {
		for _, p := range pairs(list) {
			if p.key != "cpu" && p.key != "memory" {
				lines = append(lines, s.drop(p, "resources.other"))
			}
		}
	}
	for _, p := range pairs(n) {
		if p.key != "requests" && p.key != "limits" {
			lines = append(lines, s.drop(p, "resources.other"))
		}
	}
	return lines
}

// quantity writes a quantity of Kubernetes in Nomad's unit, rounded up.
func (s *knativeService) quantity(n *yaml.Node, row, here string, unit float64) []string {
	f, ok := parseQuantity(n.Value)
	if v := math.Ceil(f*unit - 1e-9); ok && v >= 1 && v < 1e9 {
		return []string{fmt.Sprintf("%s = %.0f\n", here, v)}
	}
	return []string{s.add(s.file, n.Line, n.Column, "resources."+row, fmt.Sprintf("not carried over: %q is not understood", n.Value))}
}

// parseQuantity reads a quantity of Kubernetes, such as 250m or 1Gi.
func parseQuantity(text string) (float64, bool) {
	unit := 1.0
	for _, s := range []struct {
		text string
		unit float64
	}{
		{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"Ti", 1 << 40}, // Before M, G and T.
		{"m", 1e-3}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12},
	} {
		if number, ok := strings.CutSuffix(text, s.text); ok {
			text, unit = number, s.unit
			break
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	return f * unit, err == nil && f > 0 && !math.IsInf(f, 0)
}

func (s *knativeService) readProbe(n *yaml.Node) {
	for _, p := range pairs(n) {
		switch p.key {
		case "httpGet":
			path := "/"
			for _, in := range pairs(p.value) {
				if in.key == "path" {
					path = in.value.Value
					continue
				}
				if in.key == "port" && (in.value.Value == "0" || in.value.Value == s.port) {
					continue
				}
				s.probe = append(s.probe, s.drop(in, "probe."+in.key))
			}
			s.probe = append(s.probe, "http = "+quoted(path)+"\n")
		case "tcpSocket":
			s.probe = append(s.probe, "tcp = true\n")
		case "grpc":
			s.probe = append(s.probe, "grpc = "+quoted(scalarOf(p.value, "service"))+"\n")
			s.protocolGRPC()
		case "timeoutSeconds":
			if v, ok := number(p.value); ok {
				s.probe = append(s.probe, "timeout = "+quoted(v+"s")+"\n")
			}
		default:
			s.probe = append(s.probe, s.drop(p, "probe."+p.key))
		}
	}
}

// protocolGRPC sets the protocol that a gRPC probe needs.
func (s *knativeService) protocolGRPC() {
	for i, line := range s.settings {
		if strings.HasPrefix(line, "protocol =") {
			s.settings[i] = "protocol = \"grpc\"\n"
			return
		}
	}
	s.settings = append(s.settings, "protocol = \"grpc\"\n")
}
