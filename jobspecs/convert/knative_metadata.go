package convert

import (
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

func (s *knativeService) metadata(n *yaml.Node) {
	for _, p := range pairs(n) {
		switch p.key {
		case "name":
		case "namespace":
			if _, err := strconv.Atoi(p.value.Value); err == nil || nameOf(p.value.Value) != p.value.Value {
				s.settings = append(s.settings, s.drop(p, "metadata.namespace"))
				continue
			}
			s.settings = append(s.settings, "namespace = "+quoted(p.value.Value)+" # It has to exist in Nomad.\n")
		case "labels":
			for _, l := range pairs(p.value) {
				if l.key == "networking.knative.dev/visibility" {
					s.visibility(l.value.Value == "cluster-local")
					continue
				}
				s.meta = append(s.meta, quoted(l.key)+" = "+quoted(l.value.Value)+"\n")
			}
		case "annotations":
			for _, a := range pairs(p.value) {
				s.annotation(a)
			}
		default:
			s.settings = append(s.settings, s.drop(p, "metadata."+p.key))
		}
	}
}

func (s *knativeService) templateMetadata(n *yaml.Node) {
	for _, p := range pairs(n) {
		if p.key != "annotations" {
			s.settings = append(s.settings, s.drop(p, "template.metadata."+p.key))
			continue
		}
		for _, a := range pairs(p.value) {
			s.annotation(a)
		}
	}
}

func (s *knativeService) visibility(mesh bool) {
	if mesh {
		s.settings = append(s.settings, "visibility = \"mesh\"\n")
		return
	}
	s.settings = append(s.settings, "visibility = \"public\"\n")
}

// annotation reads one annotation of the service or of its template.
func (s *knativeService) annotation(p pair) {
	domain, name, _ := strings.Cut(p.key, "/")
	known := scaleOf(name)
	switch {
	case domain == "autoscaling.knative.dev" && known != "",
		domain == "run.googleapis.com" && (known == "min" || known == "max"):
		s.scaleSetting(p, known)
	case domain == "autoscaling.knative.dev":
		s.metricSetting(p, name)
	case p.key == "serving.knative.dev/progress-deadline":
		if line, ok := durationLine("progress", p.value); ok {
			s.timeout = append(s.timeout, line)
			return
		}
		s.settings = append(s.settings, s.odd(p, p.key, "it is no duration"))
	case p.key == "serving.knative.dev/rollout-duration" || p.key == "serving.knative.dev/rolloutDuration":
		s.rolloutSetting(p)
	case p.key == "run.googleapis.com/ingress" && (p.value.Value == "all" || p.value.Value == "internal"):
		s.visibility(p.value.Value == "internal")
	default:
		s.settings = append(s.settings, s.dropAnnotation(p))
	}
}

// rowOf is the name under which the table has an annotation: its own, or the longest
// beginning of it that ends in /.
func rowOf(table []Setting, key string) string {
	domain, _, _ := strings.Cut(key, "/")
	if _, ok := find(table, key); !ok {
		if _, ok := find(table, domain+"/"); ok {
			return domain + "/"
		}
	}
	return key
}

func (s *knativeService) scaleSetting(p pair, here string) {
	line, ok := "", false
	switch here {
	case "down_delay", "zero_grace", "window":
		line, ok = durationLine(here, p.value)
	default:
		var v string
		v, ok = number(p.value)
		line = here + " = " + v + "\n"
	}
	for _, l := range s.scale {
		if strings.HasPrefix(l, here+" =") {
			s.scale = append(s.scale, s.odd(p, p.key, "scale."+here+" is set already"))
			return
		}
	}
	if !ok {
		line = s.odd(p, p.key, "its value is not understood")
	}
	s.scale = append(s.scale, line)
}

// rolloutSetting reads how long a new revision takes over: whole seconds there, too.
func (s *knativeService) rolloutSetting(p pair) {
	line, ok := durationLine("duration", p.value)
	switch d, _ := time.ParseDuration(p.value.Value); {
	case !ok || d%time.Second != 0:
		s.settings = append(s.settings, s.odd(p, p.key, "it is no duration of whole seconds"))
	case len(s.rollout) > 0:
		s.settings = append(s.settings, s.odd(p, p.key, "rollout.duration is set already"))
	case d > 0: // 0: all at once, which is the default.
		s.rollout = append(s.rollout, line)
	}
}

func (s *knativeService) metricSetting(p pair, name string) {
	v, ok := number(p.value)
	switch {
	case name == "metric" && (p.value.Value == "concurrency" || p.value.Value == "rps" || p.value.Value == "cpu" || p.value.Value == "memory"):
		s.metric.name = p.value.Value
	case name == "target" && ok:
		s.metric.target = v
	case (name == "target-utilization-percentage" || name == "targetUtilizationPercentage") && ok:
		f, _ := strconv.ParseFloat(v, 64)
		s.metric.utilization = strconv.FormatFloat(f/100, 'g', 6, 64)
	case name == "class" && p.value.Value == "kpa.autoscaling.knative.dev":
	case name == "metric-aggregation-algorithm" && p.value.Value == "linear":
	default:
		s.scale = append(s.scale, s.dropAnnotation(p))
	}
}

func durationLine(name string, n *yaml.Node) (string, bool) {
	d, err := time.ParseDuration(n.Value)
	return name + " = " + quoted(n.Value) + "\n", err == nil && d >= 0
}

// readTraffic keeps the targets of the latest revision: a new service has no others.
func (s *knativeService) readTraffic(n *yaml.Node) {
	var dropped []string
	tag, all := "", elements(n)
	for _, target := range all {
		var lines string
		named := field(target, "revisionName") != nil
		for _, p := range pairs(target) {
			switch {
			case named && p.key == "revisionName":
				lines += s.gone(s.file, p.node.Line, p.node.Column, "traffic.revisionName")
			case named:
			case p.key == "tag":
				tag = p.value.Value
			case p.key == "latestRevision" || p.key == "percent" || p.key == "configurationName":
			default:
				lines += s.drop(p, "traffic."+p.key)
			}
		}
		if named {
			lines += source(pair{node: &yaml.Node{Kind: yaml.ScalarNode, Value: "traffic"}, value: target})
		}
		dropped = append(dropped, lines)
	}
	text := strings.Join(dropped, "")
	if text == "" && tag == "" {
		return // All to the latest revision: the default.
	}
	out := "\n" + text + "traffic {\nrevision = \"latest\"\npercent = 100\n"
	if tag != "" {
		out += "tag = " + quoted(tag) + "\n"
	}
	s.traffic = append(s.traffic, out+"}\n")
}
