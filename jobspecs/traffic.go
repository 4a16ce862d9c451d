package jobspecs

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/wadi-run/wadi"
)

// MaxTargets bounds the traffic targets, and so the routes that one service adds to every caller's proxy.
const MaxTargets = 32

// TrafficPath is the path of the i-th traffic block of a service.
func TrafficPath(i int) string { return fmt.Sprintf("traffic[%d]", i) }

func (r *reader) traffic(b *hcl.Block, path string, s *wadi.Service) {
	var t wadi.TrafficTarget
	r.body(b.Body, path, []setting{
		{"revision", text(&t.Revision, func(id string) error { return checkTarget(id, s.Name) })},
		{"percent", hundredths(&t.Percent)},
		{"tag", text(&t.Tag, func(tag string) error { return checkTag(tag, s.Name) })},
	}, nil)
	r.require(b, path, "revision", "\"latest\", or the ID of a revision such as "+wadi.RevisionID("hello", 1))
	s.Traffic = append(s.Traffic, t)
}

// Target is one traffic target of a call.
type Target struct {
	Revision string
	Percent  *float64 // Nil: not said.
	Tag      string
}

// TargetPath is the path of the i-th traffic target of a call.
func TargetPath(i int) string { return fmt.Sprintf("targets[%d]", i) }

// Targets checks the traffic targets of a call as those of a file are, and returns them, or
// every mistake.
func Targets(service string, given []Target) ([]wadi.TrafficTarget, []wadi.Problem) {
	if len(given) == 0 {
		return nil, []wadi.Problem{{Path: "targets", Message: "required: at least one target, such as {\"revision\": \"latest\", \"percent\": 100}"}}
	}
	r := &reader{}
	r.begin()
	var targets []wadi.TrafficTarget
	for i, g := range given[:min(len(given), MaxTargets+1)] {
		path := TargetPath(i)
		var t wadi.TrafficTarget
		for _, s := range []struct {
			name string
			set  bool
			v    func() cty.Value
			read func(cty.Value) error
		}{
			{"revision", true, func() cty.Value { return cty.StringVal(g.Revision) }, text(&t.Revision, func(id string) error { return checkTarget(id, service) })},
			{"percent", g.Percent != nil, func() cty.Value { return cty.NumberFloatVal(*g.Percent) }, hundredths(&t.Percent)},
			{"tag", g.Tag != "", func() cty.Value { return cty.StringVal(g.Tag) }, text(&t.Tag, func(tag string) error { return checkTag(tag, service) })},
		} {
			if !s.set {
				continue
			}
			p := join(path, s.name)
			r.ranges[p] = hcl.Range{}
			if err := s.read(s.v()); err != nil {
				r.bad[p] = true
				r.addf(hcl.Range{}, p, "%s", err)
			}
		}
		targets = append(targets, t)
	}
	r.checkTargets("targets", targets, func(path, format string, args ...any) { r.addf(hcl.Range{}, path, format, args...) })
	return targets, bounded(r.problems)
}

// checkTraffic checks all traffic targets of a service together.
func (r *reader) checkTraffic(s *wadi.Service, report func(path, format string, args ...any)) {
	r.checkTargets("traffic", s.Traffic, report)
}

// checkTargets checks traffic targets together, whose paths begin with base. A single one has
// all the traffic unless it sets a percent; of several, one without percent only serves its
// tag.
func (r *reader) checkTargets(base string, targets []wadi.TrafficTarget, report func(path, format string, args ...any)) {
	pathOf := func(i int) string { return fmt.Sprintf("%s[%d]", base, i) }
	if len(targets) == 0 {
		return
	}
	if len(targets) > MaxTargets {
		report(pathOf(MaxTargets), "at most %d traffic targets are possible, got %d", MaxTargets, len(targets))
		return
	}
	if _, set := r.ranges[pathOf(0)+".percent"]; len(targets) == 1 && !set {
		targets[0].Percent = 100
	}
	sum, good := 0, true
	tags, untagged := map[string]int{}, map[string]int{}
	for i, t := range targets {
		path := pathOf(i)
		sum += wadi.WeightOfPercent(t.Percent)
		good = good && r.good(path+".percent")
		if !r.good(path + ".tag") {
			continue // It may have been meant to have a tag.
		}
		seen, key := untagged, t.Revision
		if t.Tag != "" {
			seen, key = tags, t.Tag
		}
		first, twice := seen[key]
		switch {
		case twice && t.Tag != "":
			report(path+".tag", "tag %q stands for the target%s already; a tag names one target", t.Tag, atLine(" ", r.ranges[pathOf(first)]))
		case twice && t.Revision != "":
			report(path, "%s has a target without a tag already%s; add the percent of both into one, or give one of them a tag", t.Revision, atLine(", ", r.ranges[pathOf(first)]))
		case t.Tag == "" && t.Percent == 0 && r.good(path+".percent"):
			report(path+".percent", "a target with 0 percent and without a tag gets no request; give it one of them, or remove it")
		default:
			seen[key] = i
		}
	}
	if good && sum != wadi.WeightAll {
		path := pathOf(0)
		if len(targets) == 1 {
			path += ".percent"
		}
		report(path, "the percent of all traffic targets must sum to exactly 100, got %s", figure(float64(sum)/100))
	}
}

// hundredths reads a percentage in steps of 0.01.
func hundredths(dst *float64) func(cty.Value) error {
	var f float64
	read := number(&f, 0, 100)
	return func(v cty.Value) error {
		if err := read(v); err != nil {
			return err
		}
		// The shortest decimal of the number is what the user wrote, or computed.
		if _, fraction, _ := strings.Cut(strconv.FormatFloat(f, 'f', -1, 64), "."); len(fraction) > 2 {
			return fmt.Errorf("steps of 0.01 are possible, got %s", figure(f))
		}
		*dst = f
		return nil
	}
}

// checkTag accepts a tag that can precede a service's name in a host and in the mesh.
func checkTag(tag, service string) error {
	switch name := wadi.TagName(tag, service); {
	case !label.MatchString(tag):
		return fmt.Errorf("%q is no DNS label; use lower-case letters, digits and hyphens, with a letter or digit at both ends", tag)
	case strings.HasPrefix(tag, "wadi"):
		return fmt.Errorf("%q begins with \"wadi\", which is reserved for Wadi itself", tag)
	case len(name) > 63:
		return fmt.Errorf("%q has %d characters, and a DNS label may have 63: use a tag of at most %d", name, len(name), 63-len(service)-1)
	}
	return nil
}

// intentions reads which services may call this one.
func (r *reader) intentions(b *hcl.Block, path string, s *wadi.Service) {
	in := wadi.Intentions{Allow: []string{}}
	read := stringList(&in.Allow, 100, checkCaller)
	r.body(b.Body, path, []setting{{"allow", func(v cty.Value) error {
		err := read(v)
		if in.Allow == nil {
			in.Allow = []string{} // No caller, which differs from no intentions.
		}
		return err
	}}}, nil)
	r.require(b, path, "allow", "the services that may call this one; [] is none, [\"*\"] is every service of the mesh")
	s.Intentions = &in
}

func (r *reader) checkIntentions(s *wadi.Service, report func(path, format string, args ...any)) {
	if s.Intentions != nil && s.Mesh == wadi.MeshOff && r.good("mesh") {
		report("intentions", "intentions are about callers in the mesh, and mesh is \"off\": any caller that reaches an instance may call it; set mesh = \"envoy\" or remove them (mesh is set %s)", r.origin("mesh"))
	}
}

// checkCaller accepts the name of a service in Consul, or all of them.
func checkCaller(s string) error {
	switch {
	case s == "*":
		return nil
	case s == wadi.ServiceAgent, s == wadi.ServiceGateway, slices.Contains(wadi.Activators(), s):
		return fmt.Errorf("%q is Wadi's own: activators may always call, and so may the gateway where visibility is \"public\"; remove it", s)
	case strings.Contains(s, "*"):
		return fmt.Errorf("%q is no name and not \"*\": Consul knows no patterns here", s)
	case !consulName.MatchString(s):
		return errors.New(strconv.Quote(s) + " can't be the name of a service in Consul; use letters, digits, hyphens, underscores and dots")
	}
	return nil
}
