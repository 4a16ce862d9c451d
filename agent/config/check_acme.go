package config

import (
	"net/mail"
	"net/url"
	"os"
	"slices"
	"time"
)

// acme checks by which authority, and how, agents obtain certificates. They read the files
// when they start.
func (l *loader) acme() {
	const path = "gateway.tls.acme"
	a := l.cfg.Gateway.TLS.ACME
	if !a.AgreeTerms {
		l.problem(l.at(path+".agree_terms"), path+".agree_terms", "set it to true to agree to the terms of service of the authority, which its directory %s names; without that it gives no certificates", a.Directory)
	}
	u, err := url.Parse(a.Directory)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		l.problem(l.at(path+".directory"), path+".directory", "%q is not the https address of an ACME directory, such as %q", a.Directory, LetsEncrypt)
	}
	if m, err := mail.ParseAddress(a.Email); a.Email != "" && (err != nil || m.Address != a.Email) {
		l.problem(l.at(path+".email"), path+".email", "%q is not an address of mail, such as \"ops@example.com\"", a.Email)
	}
	for _, c := range a.Challenges {
		if !slices.Contains([]string{ChallengeHTTP, ChallengeTLSALPN}, c) {
			l.oneOf(path+".challenges", c, ChallengeHTTP, ChallengeTLSALPN)
		}
	}
	if len(a.Challenges) == 0 {
		l.problem(l.at(path+".challenges"), path+".challenges", "one is needed: %q, by port 80, or %q, by port 443", ChallengeHTTP, ChallengeTLSALPN)
	}
	between(l, path+".renew_before", a.RenewBefore, 0, 365*24*time.Hour)
	between(l, path+".max_domains", a.MaxDomains, 1, 10_000)
	between(l, path+".orders_per_hour", a.OrdersPerHour, 1, 10_000)
	for _, f := range []struct{ path, file string }{
		{path + ".ca_file", a.CAFile}, {path + ".encryption_key_file", a.EncryptionKeyFile}, {path + ".eab_mac_key_file", a.EABMACKeyFile},
	} {
		if f.file == "" {
			continue
		}
		if info, err := os.Stat(f.file); err != nil || !info.Mode().IsRegular() {
			l.problem(l.at(f.path), f.path, "there is no file %q", f.file)
		}
	}
	switch {
	case a.EABKeyID != "" && a.EABMACKeyFile == "":
		l.problem(l.at(path+".eab_key_id"), path+".eab_key_id", "is of no use without eab_mac_key_file")
	case a.EABKeyID == "" && a.EABMACKeyFile != "":
		l.problem(l.at(path+".eab_mac_key_file"), path+".eab_mac_key_file", "is of no use without eab_key_id")
	}
}
