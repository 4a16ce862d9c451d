package secrets

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
)

// Change is a difference between jobs without certain and likely secrets: it is printed where
// many read it, such as in the log of a pipeline. Jobs are the compared ones, whose secrets
// are hidden wherever they stand in the difference.
func Change(c wadi.Change, jobs ...json.RawMessage) wadi.Change {
	var known []string
	for _, job := range jobs {
		for _, f := range In(job, "") {
			known = append(known, f.values()...)
		}
	}
	slices.Sort(known)
	return change(c, slices.Compact(known))
}

func change(c wadi.Change, known []string) wadi.Change {
	c.Old, c.New = changed(c.Name, c.Old, known), changed(c.Name, c.New, known)
	if len(c.Changes) == 0 {
		return c
	}
	parts := make([]wadi.Change, 0, len(c.Changes))
	for _, part := range c.Changes {
		parts = append(parts, change(part, known))
	}
	c.Changes = parts
	return c
}

// changed is a value of a difference.
func changed(name, value string, known []string) string {
	if value == "" {
		return ""
	}
	var spans []span
	if _, whole := slices.BinarySearch(known, value); whole {
		return Hidden
	}
	if len(known) > few {
		spans = among(value, known)
	} else {
		for _, secret := range known {
			if len(secret) >= shortest {
				spans = append(spans, every(value, secret)...)
			}
		}
	}
	key := name // Of auth[0][password] it is password.
	if i := strings.LastIndexByte(name, '['); i >= 0 && strings.HasSuffix(name, "]") {
		key = name[i+1 : len(name)-1]
	}
	login := strings.HasPrefix(name, "auth[") && isLogin(key)
	switch {
	case login && !isReference(value), isLikelySecret(key, value), isLoginHeader(key) && strings.HasPrefix(name, "GetterHeaders["):
		return Hidden
	}
	spans = append(spans, inText(value)...)
	for _, a := range assignments(value, "") {
		if isLikelySecret(a.name, value[a.value.from:a.value.to]) {
			spans = append(spans, a.value)
		}
	}
	for _, getter := range getterSecrets {
		if key == getter && !isReference(value) {
			return Hidden
		}
	}
	if m := option.FindStringSubmatchIndex(value); m != nil && isLikelySecret(value[m[2]:m[3]], value[m[4]:m[5]]) {
		spans = append(spans, span{m[4], m[5]})
	}
	if strings.Contains(name, "[") || isMount(key) {
		spans = append(spans, literal(value, matches(mountFlag, value))...)
	}
	return hide(value, merge(spans))
}

// shortest is the length of a secret that is looked for in other texts: a shorter one may be a
// part of any word.
const shortest = 4

// few secrets are looked for one after the other.
const few = 64

// among is where any of many sorted secrets is in a text: at each byte the longest one. A job
// may have tens of thousands, and its difference as many values.
func among(text string, known []string) (spans []span) {
	for at := range len(text) {
		for rest := text[at:]; len(rest) >= shortest; {
			i, there := slices.BinarySearch(known, rest)
			if !there {
				i--
			}
			if i < 0 {
				break
			}
			n := 0 // What known[i] and the rest have in common; no longer secret begins the rest.
			for n < len(known[i]) && n < len(rest) && known[i][n] == rest[n] {
				n++
			}
			if n == len(known[i]) {
				if n >= shortest {
					spans = append(spans, span{at, at + n})
				}
				break
			}
			rest = rest[:n]
		}
	}
	return spans
}

// every is where a secret is in a text.
func every(text, secret string) (spans []span) {
	for at := 0; ; {
		i := strings.Index(text[at:], secret)
		if i < 0 {
			return spans
		}
		spans = append(spans, span{at + i, at + i + len(secret)})
		at += i + len(secret)
	}
}
