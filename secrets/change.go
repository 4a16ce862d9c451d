package secrets

import (
	"strings"

	"github.com/wadi-run/wadi"
)

// Change is a difference between two jobs without certain and likely secrets: it is printed
// where many read it, such as in the log of a pipeline.
func Change(c wadi.Change) wadi.Change {
	c.Old, c.New = changed(c.Name, c.Old), changed(c.Name, c.New)
	if len(c.Changes) == 0 {
		return c
	}
	parts := make([]wadi.Change, 0, len(c.Changes))
	for _, part := range c.Changes {
		parts = append(parts, Change(part))
	}
	c.Changes = parts
	return c
}

// changed is a value of a difference.
func changed(name, value string) string {
	if value == "" {
		return ""
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
	spans := inText(value)
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
	if strings.Contains(name, "[") || isMount(key) {
		spans = append(spans, literal(value, matches(mountFlag, value))...)
	}
	return hide(value, merge(spans))
}
