package jobspecs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// unexpectedName matches HCL's complaint about an unknown name.
var unexpectedName = regexp.MustCompile(`^(?:An argument named|Blocks of type) "([^"]+)" (?:is|are) not expected here\.`)

// wrongLabels matches HCL's complaint about the labels of a block.
var wrongLabels = regexp.MustCompile(`^(Missing (\w+)|Extraneous label) for (\w+)$`)

// labels says how a block is written, in place of HCL's complaint.
func labels(d *hcl.Diagnostic) (block, message string, ok bool) {
	m := wrongLabels.FindStringSubmatch(d.Summary)
	if m == nil {
		return "", "", false
	}
	block = m[3]
	switch label, found := strings.CutPrefix(d.Detail, "Only 1 labels ("); {
	case m[2] != "":
		message = fmt.Sprintf("a block %s needs a label, its %s: %s \"…\" { … }", block, m[2], block)
	case found:
		label, _, _ = strings.Cut(label, ")")
		message = fmt.Sprintf("a block %s has one label, its %s: %s \"…\" { … }", block, label, block)
	default:
		message = fmt.Sprintf("a block %s has no label: %s { … }", block, block)
	}
	return block, message, true
}

// misplaced reports a complaint of the parser about the block at path. For a name that is
// not allowed there it adds where the name belongs, or which names are known there.
func (r *reader) misplaced(d *hcl.Diagnostic, path string, place func(name string) string, known []string, fallback hcl.Range) {
	p := FromDiagnostics(hcl.Diagnostics{d}, r.pathOf(path, d), fallback)[0]
	if m := unexpectedName.FindStringSubmatch(d.Detail); m != nil {
		switch place := place(m[1]); {
		case place != "":
			p.Message = place
		case !strings.Contains(d.Detail, "Did you mean"):
			slices.Sort(known)
			p.Message += " Known here: " + strings.Join(slices.Compact(known), ", ") + "."
		}
	}
	if block, message, ok := labels(d); ok {
		p.Path, p.Message = join(path, block), message
	}
	r.problems = append(r.problems, p)
}

// hintsFor returns a function that says where a name belongs that is wrong in the block
// at path of a service, because Nomad has it, or another block of Wadi; empty if that is
// not known.
func hintsFor(path string) func(name string) string {
	return func(name string) string { return hint(path, name) }
}

func hint(path, name string) string {
	switch path {
	case "":
		return hintInService(name)
	case "scale":
		return hintInScale(name)
	case "concurrency":
		if name == "target" || name == "utilization" {
			return fmt.Sprintf("use scale { metric \"concurrency\" { %s = … } }; the limit here is what one instance takes at most", name)
		}
	case "probe":
		switch name {
		case "path", "type":
			return "use http = \"/path\", tcp = true or grpc = \"service\""
		case "port":
			return "the probe asks the app at the service's port"
		case "interval", "period", "success_threshold", "failure_threshold", "initial_delay":
			return "the app is asked every few milliseconds until it is ready; use the service's timeout.progress to bound how long a start may take"
		}
	case "timeout":
		if name == "queue" {
			return "use the service's queue block: queue { timeout = … }"
		}
	}
	if strings.HasPrefix(path, "route.") {
		return hintInRoute(path, name)
	}
	return ""
}

// hintInRoute is the hint for a name in a block of a route.
func hintInRoute(path, name string) string {
	switch {
	case slices.Contains([]string{"regex", "path_regex", "regexp", "regex_rewrite"}, name):
		return "regular expressions are not built: Wadi's gateway and Envoy read them differently; use path, path_prefix, or a header's exact, prefix or suffix"
	case slices.Contains([]string{"invert", "not", "absent", "ignore_case", "case_insensitive", "contains"}, name):
		return "such a condition is not built; the first route that is met holds, so put a route with the other condition before this one"
	case slices.Contains([]string{"host", "hosts", "hostname"}, name) && strings.HasSuffix(path, ".match"):
		return "a host is no condition: the gateway and the mesh know a service by other names; use domains, or tags"
	case name == "method":
		return "use methods = [\"GET\"]"
	case slices.Contains([]string{"path", "path_prefix", "methods", "header", "query"}, name) && strings.Count(path, ".") == 1:
		return fmt.Sprintf("it belongs in the match block: match { %s … }", name)
	case slices.Contains([]string{"weight", "percent", "traffic"}, name):
		return "a route has no shares: without revision, tag and service its requests go on by the service's traffic blocks"
	case slices.Contains([]string{"timeout", "retries", "retry", "mirror", "request_headers", "response_headers"}, name):
		return "a route has no such setting; what the service says holds for all of its requests"
	}
	return ""
}

// hintInInstance is the hint for a name in an instance block; empty if Nomad knows better.
func hintInInstance(name string) string {
	switch {
	case slices.Contains([]string{
		"scale", "concurrency", "probe", "timeout", "queue", "retention", "domains", "visibility", "mesh", "protocol", "port",
		"serving_task", "upstream", "traffic", "route", "sticky", "mirror", "rollout", "intentions", "namespace", "datacenters", "node_pool", "priority",
	}, name):
		return "it belongs in the service, beside the instance block"
	case name == "group", name == "job", name == "instance":
		return "the instance block is the inside of a Nomad group: write its tasks here, task \"web\" { … }"
	}
	return ""
}

// hintInService is the hint for a name in a service block.
func hintInService(name string) string {
	switch {
	case slices.Contains([]string{
		"task", "constraint", "affinity", "spread", "volume", "restart", "reschedule", "ephemeral_disk", "vault", "consul",
		"disconnect", "stop_after_client_disconnect", "max_client_disconnect", "prevent_reschedule_on_lost", "service",
	}, name):
		return fmt.Sprintf("it belongs in the instance block, which is the inside of a Nomad group: instance { %s … }", name)
	case slices.Contains([]string{
		"driver", "config", "env", "resources", "template", "artifact", "logs", "user", "kill_timeout", "kill_signal", "lifecycle",
		"volume_mount", "identity", "secret", "csi_plugin", "device", "action", "dispatch_payload",
	}, name):
		return fmt.Sprintf("it belongs in a task: instance { task \"web\" { %s … } }", name)
	case slices.Contains([]string{"image", "command", "args", "entrypoint", "ports"}, name):
		return fmt.Sprintf("it belongs in a task's config: instance { task \"web\" { config { %s = … } } }", name)
	case slices.Contains([]string{"cpu", "memory", "cores", "memory_max"}, name):
		return fmt.Sprintf("it belongs in a task's resources: instance { task \"web\" { resources { %s = … } } }; to scale by what is used: scale { metric \"cpu\" {} } or \"memory\"", name)
	case slices.Contains([]string{"min", "max", "initial", "activation", "window", "down_delay", "schedule", "metric"}, name):
		return fmt.Sprintf("it belongs in the scale block: scale { %s … }", name)
	case slices.Contains([]string{"periodic", "parameterized", "type", "all_at_once"}, name):
		return "a service answers requests as long as there are any; what runs by itself or by dispatch stays a Nomad job"
	}
	return nomadSetting(name)
}

// nomadSetting is the hint for a name that Nomad has and a service replaces by settings
// of its own; empty for other names.
func nomadSetting(name string) string {
	switch name {
	case "group":
		return "put the inside of the group in the instance block: instance { task \"web\" { … } }"
	case "count", "replicas":
		return notCount
	case "scaling", "autoscaling":
		return notScaling
	case "update", "migrate":
		return notUpdate
	case "shutdown_delay":
		return notShutdownDelay
	case "leader":
		return notLeader
	case "network":
		return "here it is a setting: network = \"bridge\" or \"host\"; more ports go in the instance: instance { network { port \"admin\" { to = 9000 } } }"
	case "connect", "sidecar_service", "proxy":
		return notConnect
	case "check", "checks", "health_check":
		return "use the service's probe block; Wadi registers the check"
	case "tags", "provider":
		return "Wadi registers the service in Consul; more services go in the instance: instance { service { … } }"
	case "region":
		return "services run in the region of the agent; it is set in the agent's configuration: nomad { region = … }"
	case "limit":
		return "use concurrency { limit = … }"
	case "variable", "locals":
		return "it belongs to the top of the file, beside the service"
	}
	return ""
}

func hintInScale(name string) string {
	switch name {
	case "target", "utilization":
		return fmt.Sprintf("it belongs in a metric: metric \"concurrency\" { %s = … }", name)
	case "concurrency", "rps", "cpu", "memory":
		return fmt.Sprintf("write metric %q { … }", name)
	case "count", "replicas":
		return "Wadi decides how many instances run; use min and max here"
	case "cooldown":
		return "use window and down_delay"
	}
	return ""
}

// hintAtTop is the hint for a name at the top of a file.
func hintAtTop(name string) string {
	switch name {
	case "group":
		return "put the inside of the group into service \"name\" { instance { … } }"
	case "instance":
		return "it belongs in a service: service \"name\" { instance { … } }"
	}
	if place := hintInService(name); place != "" {
		return "it belongs in a service: service \"name\" { … }. There: " + place
	}
	return ""
}
