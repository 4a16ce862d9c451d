package registry

import (
	"slices"
	"strings"
)

// challenge is one way to log in that a WWW-Authenticate header offers.
type challenge struct {
	scheme string // In lower case.
	params map[string]string
}

const (
	maxChallenges = 16
	maxParams     = 16
	maxHeader     = 8 << 10 // Bytes of one header.
)

// challenges reads WWW-Authenticate headers as RFC 9110 has them: in one header there may be
// several challenges. What can't be read is left out, and so is what comes after it.
func challenges(headers []string) (out []challenge) {
	for _, h := range headers {
		if len(h) > maxHeader {
			continue
		}
		p := &parser{rest: h}
		for len(out) < maxChallenges {
			c, ok := p.challenge()
			if !ok {
				break
			}
			out = append(out, c)
		}
	}
	return out
}

// choose returns the challenge to answer: that for a token before that for a password.
func choose(all []challenge) (challenge, bool) {
	for _, scheme := range []string{"bearer", "basic"} {
		if i := slices.IndexFunc(all, func(c challenge) bool { return c.scheme == scheme }); i >= 0 {
			return all[i], true
		}
	}
	return challenge{}, false
}

// parser reads one header.
type parser struct{ rest string }

func (p *parser) skip(chars string) { p.rest = strings.TrimLeft(p.rest, chars) }

// token reads letters, digits and the like; empty: none is there.
func (p *parser) token() string {
	n := strings.IndexFunc(p.rest, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
	})
	if n < 0 {
		n = len(p.rest)
	}
	t := p.rest[:n]
	p.rest = p.rest[n:]
	return t
}

// challenge reads a scheme and its parameters, as far as the next scheme.
func (p *parser) challenge() (challenge, bool) {
	p.skip(" \t,")
	c := challenge{scheme: strings.ToLower(p.token()), params: map[string]string{}}
	if c.scheme == "" {
		return c, false
	}
	for {
		before := p.rest
		p.skip(" \t,")
		key := strings.ToLower(p.token())
		p.skip(" \t")
		if key == "" || !strings.HasPrefix(p.rest, "=") {
			p.rest = before // The next scheme, or the end.
			return c, true
		}
		p.rest = p.rest[1:]
		p.skip(" \t")
		value, ok := p.value()
		if !ok {
			p.rest = ""
			return c, false
		}
		if _, twice := c.params[key]; !twice && len(c.params) < maxParams {
			c.params[key] = value
		}
	}
}

// value reads a token or a quoted string.
func (p *parser) value() (string, bool) {
	quoted, ok := strings.CutPrefix(p.rest, `"`)
	if !ok {
		v := p.token()
		return v, v != ""
	}
	var out strings.Builder
	for i := 0; i < len(quoted); i++ {
		switch c := quoted[i]; {
		case c == '"':
			p.rest = quoted[i+1:]
			return out.String(), true
		case c == '\\' && i+1 < len(quoted):
			i++
			out.WriteByte(quoted[i])
		default:
			out.WriteByte(c)
		}
	}
	return "", false
}
