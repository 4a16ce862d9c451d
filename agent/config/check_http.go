package config

import (
	"net/netip"
	"os"
	"strings"
)

// maxAllowedHosts bounds the further names of the API.
const maxAllowedHosts = 100

// http checks what the API's callers meet: its names, their bound, and TLS. The agent reads
// the files of TLS when it starts, and after every change.
func (l *loader) http() {
	h := &l.cfg.HTTP
	between(l, "http.requests_per_second", h.RequestsPerSecond, 1, 1_000_000)
	between(l, "the number of http.allowed_hosts", len(h.AllowedHosts), 0, maxAllowedHosts)
	for i, host := range h.AllowedHosts {
		h.AllowedHosts[i] = strings.ToLower(host)
		if _, err := netip.ParseAddr(host); err == nil {
			continue
		}
		l.match("http.allowed_hosts", h.AllowedHosts[i], domainRule, "a host name without a port, such as wadi.example.com")
	}
	if _, ok := l.from["http.tls"]; ok {
		l.httpTLS()
	}
}

func (l *loader) httpTLS() {
	t := l.cfg.HTTP.TLS
	for _, f := range []struct{ path, file, missing string }{
		{"http.tls.cert_file", t.CertFile, "required: the API's certificate in PEM, with its intermediates"},
		{"http.tls.key_file", t.KeyFile, "required: the key of cert_file in PEM"},
		{"http.tls.ca_file", t.CAFile, ""},
	} {
		if f.file == "" {
			if f.missing != "" {
				l.problem(l.at(f.path), f.path, "%s", f.missing)
			}
			continue
		}
		if info, err := os.Stat(f.file); err != nil || !info.Mode().IsRegular() {
			l.problem(l.at(f.path), f.path, "there is no file %q", f.file)
		}
	}
	if t.VerifyClient && t.CAFile == "" {
		l.problem(l.at("http.tls.verify_client"), "http.tls.verify_client", "needs ca_file: the authorities whose certificates clients must have")
	}
}
