package secrets

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// words are the words of a setting's name, such as DB and PASSWORD of db-password or
// dbPassword.
func words(name string) []string {
	var b strings.Builder
	lower := false
	for _, r := range name {
		if lower && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		lower = unicode.IsLower(r)
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			b.WriteRune(unicode.ToUpper(r))
		} else {
			b.WriteByte(' ')
		}
	}
	return strings.Fields(b.String())
}

// harmless are the words before KEY of keys that are no secrets.
var harmless = []string{"PUBLIC", "PARTITION", "SORT", "PRIMARY", "FOREIGN", "CACHE", "ROUTING", "INDEX", "HASH", "GROUP", "ORDER"}

// isSecretName reports whether a setting of that name is likely a secret.
func isSecretName(name string) bool {
	if len(name) > 256 {
		return false
	}
	all := words(name)
	if len(all) == 0 {
		return false
	}
	last := all[len(all)-1]
	for _, end := range []string{"PASSWORD", "PASSWD", "PASSPHRASE", "TOKEN", "SECRET", "APIKEY", "SECRETKEY", "ACCESSKEY", "PRIVATEKEY"} {
		if strings.HasSuffix(last, end) {
			return true
		}
	}
	switch last {
	case "KEY":
		return len(all) > 1 && !slices.Contains(harmless, all[len(all)-2])
	case "PASS", "PWD":
		return len(all) > 1
	}
	return false
}

var digits = regexp.MustCompile(`^[0-9]+$`)

// isLikelySecret reports whether a value is likely a secret because of its name: it is no
// reference, no place of a file and no switch.
func isLikelySecret(name, value string) bool {
	if !isSecretName(name) {
		return false
	}
	v := strings.TrimSpace(value)
	switch {
	case v == "" || strings.Contains(v, "${") || strings.Contains(v, "{{") || strings.Contains(v, "$("):
		return false
	case slices.Contains([]string{"true", "false", "yes", "no", "none", "null"}, strings.ToLower(v)):
		return false
	case digits.MatchString(v) && !strings.Contains(strings.ToUpper(name), "PASS"):
		return false // A number of tokens, or of a key.
	}
	for _, start := range []string{"/", "./", "../", "secrets/", "local/", "alloc/", "file:", "http://", "https://"} {
		if strings.HasPrefix(v, start) {
			return false // What is in a URL is judged by itself.
		}
	}
	return true
}
