package jobspecs

import "github.com/hashicorp/hcl/v2"

// Setting is one setting of a service, or one block, as the reader asks for it.
type Setting struct {
	Path  string // Of names, without labels: scale.metric.target.
	Block bool
	Label bool // The block has one.
}

// Settings are all settings and blocks of a service, in the order of the reader.
func Settings() []Setting {
	s := builtin()
	all := &survey{}
	newSurveyor().service(all.root(), &s)
	return all.settings
}

// DefaultSettings are those that the agent may have defaults for.
func DefaultSettings() []Setting {
	s := builtin()
	all := &survey{}
	r := newSurveyor()
	r.body(all.root(), "", r.general(&s), r.tunable(&s))
	return all.settings
}

func newSurveyor() *reader {
	r := &reader{limits: Limits{}.orDefault()}
	r.begin()
	return r
}

// survey collects what the reader asks bodies for.
type survey struct{ settings []Setting }

func (s *survey) root() hcl.Body { return &surveyed{survey: s} }

// surveyed is a body that has one block of each kind that it is asked for, and no setting.
type surveyed struct {
	hcl.Body
	survey *survey
	path   string
}

// MissingItemRange implements hcl.Body.
func (b *surveyed) MissingItemRange() hcl.Range { return hcl.Range{} }

// Content implements hcl.Body.
func (b *surveyed) Content(schema *hcl.BodySchema) (*hcl.BodyContent, hcl.Diagnostics) {
	out := &hcl.BodyContent{}
	for _, a := range schema.Attributes {
		b.survey.settings = append(b.survey.settings, Setting{Path: join(b.path, a.Name)})
	}
	for _, h := range schema.Blocks {
		path := join(b.path, h.Type)
		b.survey.settings = append(b.survey.settings, Setting{Path: path, Block: true, Label: len(h.LabelNames) > 0})
		block := &hcl.Block{Type: h.Type, Body: &surveyed{survey: b.survey, path: path}}
		if len(h.LabelNames) > 0 {
			block.Labels, block.LabelRanges = []string{"concurrency"}, []hcl.Range{{}} // Good for each kind.
		}
		out.Blocks = append(out.Blocks, block)
	}
	return out, nil
}
