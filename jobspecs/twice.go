package jobspecs

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// HCL's parser refuses a setting that stands twice in a block as if the syntax were broken.
// It is not: with the first of them all other mistakes can be found at once.

// setTwice matches that complaint.
const setTwice = "Attribute redefined"

// redefined reports the settings that stand twice in a file, and returns the other
// complaints of HCL's parser.
func (r *reader) redefined(file *hclsyntax.Body, diags hcl.Diagnostics) (others hcl.Diagnostics) {
	for _, d := range diags {
		if d.Summary != setTwice || d.Subject == nil {
			others = append(others, d)
			continue
		}
		at := d.Subject.Start
		path, body := pathOfBlock(file, at)
		name := string(d.Subject.SliceBytes(r.file.Source))
		first := ""
		if a := body.Attributes[name]; a != nil {
			first = atLine(", ", a.NameRange)
		}
		r.twice = append(r.twice, [2]int{at.Line, at.Column})
		r.addf(*d.Subject, join(path, name), "it is set already%s; a setting stands once in a block", first)
	}
	return others
}

// pathOfBlock is the path of the innermost block around a place, without its service, and
// its body.
func pathOfBlock(body *hclsyntax.Body, at hcl.Pos) (path string, inner *hclsyntax.Body) {
	count := map[string]int{}
	for _, b := range body.Blocks {
		i := count[b.Type]
		count[b.Type]++
		if rng := b.Range(); at.Byte < rng.Start.Byte || at.Byte >= rng.End.Byte {
			continue
		}
		deeper, inner := pathOfBlock(b.Body, at)
		name := strings.Join(append([]string{b.Type}, b.Labels...), ".")
		switch b.Type {
		case "service":
			return deeper, inner
		case "traffic":
			name = TrafficPath(i)
		}
		if deeper != "" {
			name += "." + deeper
		}
		return name, inner
	}
	return "", body
}
