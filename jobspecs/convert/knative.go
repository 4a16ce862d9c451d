package convert

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// knative converts the services of one YAML file.
func knative(f jobspecs.File) (Result, []wadi.Problem) {
	docs, problems := documents(f)
	if len(problems) > 0 {
		return Result{}, problems
	}
	all := notes{table: KnativeSettings()}
	out, services := head(f.Name), 0
	for _, doc := range docs {
		version, kind := scalarOf(doc, "apiVersion"), scalarOf(doc, "kind")
		if kind != "Service" || !strings.HasPrefix(version, "serving.knative.dev/") {
			out += all.add(f.Name, doc.Line, doc.Column, "kind", fmt.Sprintf("%s %s is not converted; only a Service of serving.knative.dev is", version, kind)) + "\n"
			continue
		}
		services++
		s := &knativeService{notes: all, file: f.Name, port: "8080"}
		out += s.convert(doc) + "\n"
		all = s.notes
	}
	if services == 0 {
		return Result{}, []wadi.Problem{{File: f.Name, Line: 1, Path: "kind", Message: "no service in this file: apiVersion: serving.knative.dev/v1, kind: Service"}}
	}
	all.sort()
	return Result{HCL: []byte(out), Notes: all.all}, nil
}

// yamlLine matches an error of the YAML library that has a line.
var yamlLine = regexp.MustCompile(`line (\d+): (.*)`)

// documents reads the YAML documents that are not empty.
func documents(f jobspecs.File) (docs []*yaml.Node, problems []wadi.Problem) {
	dec := yaml.NewDecoder(bytes.NewReader(f.Source))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			p := wadi.Problem{File: f.Name, Message: "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
			if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
				p.Line, _ = strconv.Atoi(m[1])
				p.Message = "not YAML: " + m[2]
			}
			return nil, []wadi.Problem{p}
		}
		if line, why := unreadable(&doc, 0); why != "" {
			return nil, []wadi.Problem{{File: f.Name, Line: line, Message: why}}
		}
		for _, root := range doc.Content {
			if root.Kind == yaml.MappingNode {
				docs = append(docs, root)
			}
		}
	}
}

// unreadable finds aliases, which could make a small file enormous, keys that stand twice,
// and what is too deep.
func unreadable(n *yaml.Node, depth int) (line int, why string) {
	switch {
	case n.Kind == yaml.AliasNode:
		return n.Line, "aliases (*name) are not read; write the value out"
	case depth > maxDepth:
		return n.Line, fmt.Sprintf("it is nested more than %d deep", maxDepth)
	}
	seen := map[string]bool{}
	for _, p := range pairs(n) {
		if seen[p.key] {
			return p.node.Line, fmt.Sprintf("%q stands in this mapping twice; remove one of them", p.key)
		}
		seen[p.key] = true
	}
	for _, c := range n.Content {
		if line, why := unreadable(c, depth+1); why != "" {
			return line, why
		}
	}
	return 0, ""
}

// pair is a key and its value in a mapping.
type pair struct {
	key   string
	node  *yaml.Node // The key.
	value *yaml.Node
}

func pairs(n *yaml.Node) (all []pair) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		all = append(all, pair{n.Content[i].Value, n.Content[i], n.Content[i+1]})
	}
	return all
}

func elements(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

func field(n *yaml.Node, name string) *yaml.Node {
	for _, p := range pairs(n) {
		if p.key == name {
			return p.value
		}
	}
	return nil
}

func scalarOf(n *yaml.Node, path ...string) string {
	for _, name := range path {
		n = field(n, name)
	}
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// knativeService collects the parts of one service.
type knativeService struct {
	notes
	file string

	port     string
	settings []string
	meta     []string
	scale    []string
	metric   metric
	timeout  []string
	limit    string
	probe    []string
	rollout  []string
	tasks    []string
	traffic  []string
}

type metric struct{ name, target, utilization string }

func (s *knativeService) convert(doc *yaml.Node) string {
	name := scalarOf(doc, "metadata", "name")
	if wanted := nameOf(name); wanted != name {
		s.settings = append(s.settings, s.add(s.file, doc.Line, doc.Column, "metadata.name", fmt.Sprintf("%q can't be the service's name; it is %q here", name, wanted)))
		name = wanted
	}
	for _, p := range pairs(doc) {
		switch p.key {
		case "apiVersion", "kind":
		case "metadata":
			s.metadata(p.value)
		case "spec":
			s.spec(p.value)
		default:
			s.settings = append(s.settings, s.drop(p, p.key))
		}
	}
	return s.write(name)
}

func (s *knativeService) spec(n *yaml.Node) {
	for _, p := range pairs(n) {
		switch p.key {
		case "template":
			for _, in := range pairs(p.value) {
				switch in.key {
				case "metadata":
					s.templateMetadata(in.value)
				case "spec":
					s.template(in.value)
				default:
					s.settings = append(s.settings, s.drop(in, "template."+in.key))
				}
			}
		case "traffic":
			s.readTraffic(p.value)
		default:
			s.settings = append(s.settings, s.drop(p, "spec."+p.key))
		}
	}
}

func (s *knativeService) write(name string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "service %s {\n", quoted(name))
	out.WriteString("port = " + s.port + "\n" + strings.Join(s.settings, ""))
	out.WriteString("\ninstance {\n" + strings.Join(s.tasks, "\n") + "}\n")
	block := func(name string, lines []string) {
		if len(lines) > 0 {
			out.WriteString("\n" + name + " {\n" + strings.Join(lines, "") + "}\n")
		}
	}
	block("probe", s.probe)
	if s.limit != "" {
		block("concurrency", []string{"limit = " + s.limit + "\n"})
	}
	block("timeout", s.timeout)
	block("scale", append(s.scale, s.metric.lines()...))
	out.WriteString(strings.Join(s.traffic, ""))
	block("rollout", s.rollout)
	block("meta =", s.meta)
	out.WriteString("}\n")
	return out.String()
}

func (m metric) lines() []string {
	if m == (metric{}) {
		return nil
	}
	name := m.name
	if name == "" {
		name = "concurrency"
	}
	out := "\nmetric " + quoted(name) + " {\n"
	if m.target != "" {
		out += "target = " + m.target + "\n"
	}
	if m.utilization != "" {
		out += "utilization = " + m.utilization + "\n"
	}
	return []string{out + "}\n"}
}

// drop returns a pair as a comment, with a note.
func (s *knativeService) drop(p pair, path string) string {
	return s.gone(s.file, p.node.Line, p.node.Column, path) + source(p)
}

// dropAnnotation is drop for an annotation, whose row may stand for several.
func (s *knativeService) dropAnnotation(p pair) string {
	return s.goneAs(s.file, p.node.Line, p.node.Column, p.key, rowOf(s.table, p.key)) + source(p)
}

// odd is drop for a value that is not what Kubernetes has there.
func (s *knativeService) odd(p pair, path, want string) string {
	return s.add(s.file, p.node.Line, p.node.Column, path, "not carried over: "+want) + source(p)
}

func source(p pair) string {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{p.node, p.value}}); err != nil {
		return ""
	}
	return commented(out.String())
}

// number is a finite decimal number, as HCL writes it.
func number(n *yaml.Node) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		return "", false
	}
	f, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || f != f || f > 1e12 || f < -1e12 {
		return "", false
	}
	return strconv.FormatFloat(f, 'f', -1, 64), true
}
