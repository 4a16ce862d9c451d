package config

import (
	"io"
	"os"
	"strings"
)

// maxToken bounds a file with a token, in bytes. A workload's identity has about 1 KiB.
const maxToken = 16 << 10

// tokenFile reads the token of a file, which takes precedence over the token in the
// configuration and the environment, as with Consul's own commands: it is the one that
// is renewed.
func (l *loader) tokenFile(path, file string, dst *string) {
	if file == "" {
		return
	}
	info, err := os.Stat(file)
	switch {
	case err != nil:
		l.problem(l.at(path), path, "there is no file %q", file)
		return
	case !info.Mode().IsRegular():
		l.problem(l.at(path), path, "%q is no file", file)
		return
	}
	b, err := readToken(file)
	token := strings.TrimSpace(string(b))
	switch {
	case err != nil:
		l.problem(l.at(path), path, "%q can't be read: %s", file, reason(err))
	case len(b) > maxToken:
		l.problem(l.at(path), path, "%q is larger than 16 KiB: no token is", file)
	case token == "":
		l.problem(l.at(path), path, "%q is empty: it has to hold the token", file)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		l.problem(l.at(path), path, "%q holds more than a token: spaces, lines or other characters that no token has", file)
	default:
		*dst = token
	}
}

func readToken(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxToken+1))
}
