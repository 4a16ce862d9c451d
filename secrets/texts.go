package secrets

import (
	"regexp"
	"slices"
	"strings"
)

// The forms of secrets in texts. The last group of each is the secret.
var (
	urlUser  = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://([^\s/?#@:"'<>]*)(?::([^\s/?"'<>]*))?@`)
	urlQuery = regexp.MustCompile(`(?i)[?&](sshkey|aws_access_key_secret|aws_access_token|x-amz-signature|x-amz-security-token|x-goog-signature|sig|access_token|private_token|token|password|secret|api_key|apikey)=([^&\s#"'<>]+)`)
	// Of go-getter, which downloads artifacts.
	getterSecrets = []string{"sshkey", "aws_access_key_secret", "aws_access_token"}

	knownToken = regexp.MustCompile(`\b((?:gh[pousr]_|github_pat_|glpat-|dckr_pat_|dckr_oat_|hvs\.|hvb\.|npm_|sk_live_)[A-Za-z0-9_-]{16,}|xox[abeprs]-[A-Za-z0-9-]{16,})`)
	privateKey = regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(.*?)(?:-----END|\z)`)
	keyLine    = regexp.MustCompile(`[A-Za-z0-9+/]{40}`) // Of a key, whatever headers are before it.
	mountFlag  = regexp.MustCompile(`(?i)(?:^|[,\s])(?:password|passwd|pass|secret)=([^,\s]+)`)
	dockerAuth = regexp.MustCompile(`(?i)"(?:auth|password|identitytoken|registrytoken)"\s*:\s*"((?:[^"\\]|\\.)+)"`)
	scheme     = regexp.MustCompile(`^(?i)(?:bearer|basic|token|apikey)\s+`)
	option     = regexp.MustCompile(`^--?([A-Za-z][A-Za-z0-9_.-]*)=((?s).+)$`)
	assignment = regexp.MustCompile(`(?m)^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*([^\n]*)$`)
)

// isVague reports whether a text may be completed when the task runs: by Nomad, a template, in
// the usual delimiters or others, or a shell.
func isVague(text string) bool {
	return strings.HasPrefix(text, "$") || slices.ContainsFunc([]string{"${", "{{", "$(", "[[", "<<", "<%"}, func(left string) bool { return strings.Contains(text, left) })
}

// inURLs finds passwords and tokens before the host of URLs.
func inURLs(text string) (spans []span) {
	if !strings.Contains(text, "://") {
		return nil
	}
	for _, m := range urlUser.FindAllStringSubmatchIndex(text, -1) {
		user, password := span{m[2], m[3]}, span{m[4], m[5]}
		name := text[user.from:user.to]
		switch {
		case password.from >= 0 && !slices.Contains([]string{"", "x-oauth-basic"}, text[password.from:password.to]):
			spans = append(spans, password)
			if !knownToken.MatchString(name) {
				continue
			}
		case password.from >= 0 && len(name) < 16, password.from < 0 && !knownToken.MatchString(name):
			continue
		}
		spans = append(spans, user) // Services take a token in place of the user.
	}
	return spans
}

// inQueries finds the secrets in the parameters of URLs, of go-getter only or of all.
func inQueries(text string, all bool) (spans []span) {
	if !strings.Contains(text, "=") {
		return nil
	}
	for _, m := range urlQuery.FindAllStringSubmatchIndex(text, -1) {
		if all || slices.Contains(getterSecrets, strings.ToLower(text[m[2]:m[3]])) {
			spans = append(spans, span{m[4], m[5]})
		}
	}
	return spans
}

// matches are the last groups of all matches.
func matches(re *regexp.Regexp, text string) (spans []span) {
	for _, m := range re.FindAllStringSubmatchIndex(text, -1) {
		spans = append(spans, span{m[len(m)-2], m[len(m)-1]})
	}
	return spans
}

// inDockerConfig finds the logins in a configuration file of Docker.
func inDockerConfig(text string) []span {
	if !strings.Contains(text, `"auths"`) {
		return nil
	}
	return matches(dockerAuth, text)
}

// literal keeps the spans that are not left to Nomad, a template or a shell.
func literal(text string, spans []span) []span {
	return slices.DeleteFunc(spans, func(s span) bool {
		v := text[s.from:s.to]
		return v == "" || isReference(v) || isVague(v)
	})
}

// inText finds what is a secret wherever it stands in a text.
func inText(text string) []span {
	return merge(append(literal(text, slices.Concat(inURLs(text), inQueries(text, true), matches(knownToken, text))), inFiles(text)...))
}

// inFiles finds what is certainly a secret in the text of a file: private keys, and logins
// of Docker.
func inFiles(text string) []span {
	return literal(text, append(inKeys(text), inDockerConfig(text)...))
}

// inKeys finds private keys.
func inKeys(text string) []span {
	if !strings.Contains(text, "PRIVATE KEY") {
		return nil
	}
	return slices.DeleteFunc(matches(privateKey, text), func(s span) bool { return !keyLine.MatchString(text[s.from:s.to]) })
}

// merge sorts spans, and leaves out what is within another one.
func merge(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int {
		if a.from != b.from {
			return a.from - b.from
		}
		return b.to - a.to
	})
	var out []span
	for _, s := range spans {
		if n := len(out); n > 0 && s.from < out[n-1].to {
			out[n-1].to = max(out[n-1].to, s.to)
			continue
		}
		out = append(out, s)
	}
	return out
}

// hide puts Hidden in the place of spans, which are merged.
func hide(text string, spans []span) string {
	var b strings.Builder
	at := 0
	for _, s := range spans {
		b.WriteString(text[at:s.from])
		b.WriteString(Hidden)
		at = s.to
	}
	b.WriteString(text[at:])
	return b.String()
}

// Text is a text, such as an error of Nomad, without passwords and tokens in URLs, private
// keys and tokens that are known by their form.
func Text(text string) string {
	spans := inText(text)
	if len(spans) == 0 {
		return text
	}
	return hide(text, spans)
}
