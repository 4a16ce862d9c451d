package jobspecs

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/wadi-run/wadi"
)

// maxDepth bounds the nesting of an expression. HCL's parser recurses once for each
// bracket, operator, index and template directive, and a stack overflow can't be recovered
// from: it would end the agent, and Nomad's server after it.
const maxDepth = 500

// tooDeep finds the first place where f is nested too deeply to be parsed.
func tooDeep(f File) (wadi.Problem, bool) {
	tokens, _ := hclsyntax.LexConfig(f.Source, f.Name, hcl.Pos{Line: 1, Column: 1})
	var d nesting
	for _, t := range tokens {
		d.add(t.Type)
		if d.total+len(d.open) > maxDepth {
			return problemAt(t.Range, "", "expressions or blocks are nested more than %d deep", maxDepth), true
		}
	}
	return wadi.Problem{}, false
}

// nesting computes from the tokens of a file an upper bound of its nesting.
type nesting struct {
	open  []level
	base  level // Outside of all brackets.
	total int   // The sum of all chains.
}

// level is one open bracket with the length of the chain in it.
type level struct {
	opener hclsyntax.TokenType
	chain  int
}

func (d *nesting) top() *level {
	if len(d.open) == 0 {
		return &d.base
	}
	return &d.open[len(d.open)-1]
}

func (d *nesting) add(t hclsyntax.TokenType) {
	switch t {
	case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc, hclsyntax.TokenTemplateInterp:
		d.open = append(d.open, level{opener: t})
	case hclsyntax.TokenTemplateControl: // An "if" without its end encloses what follows.
		d.chain(1)
		d.open = append(d.open, level{opener: t})
	case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
		d.close(t)
	case hclsyntax.TokenComma:
		d.chain(-d.top().chain)
	case hclsyntax.TokenNewline:
		if o := d.top().opener; o == hclsyntax.TokenOBrace || len(d.open) == 0 {
			d.chain(-d.top().chain)
		}
	case hclsyntax.TokenIdent, hclsyntax.TokenNumberLit, hclsyntax.TokenStringLit, hclsyntax.TokenQuotedLit, hclsyntax.TokenComment, hclsyntax.TokenEqual, hclsyntax.TokenColon, hclsyntax.TokenEOF:
	default: // Operators, dots, stars.
		d.chain(1)
	}
}

// close ends the innermost bracket. Indices and calls in a chain count in the level around
// it.
func (d *nesting) close(t hclsyntax.TokenType) {
	if len(d.open) == 0 {
		return
	}
	d.chain(-d.top().chain)
	d.open = d.open[:len(d.open)-1]
	if t == hclsyntax.TokenCBrack || t == hclsyntax.TokenCParen {
		d.chain(1)
	}
}

func (d *nesting) chain(n int) {
	d.top().chain += n
	d.total += n
}
