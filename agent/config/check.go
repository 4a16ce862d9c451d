package config

import (
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

var (
	nameRule   = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,62}[a-zA-Z0-9])?$`)
	domainRule = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	prefixRule = regexp.MustCompile(`^[a-zA-Z0-9._-]+(/[a-zA-Z0-9._-]+)*/?$`)
)

// KeyPrefix is a prefix of keys in Consul with the slash at its end; ok: it may be one.
func KeyPrefix(prefix string) (whole string, ok bool) {
	return strings.TrimSuffix(prefix, "/") + "/", prefixRule.MatchString(prefix)
}

// IsDomain reports whether a text may be gateway.domain.
func IsDomain(s string) bool { return domainRule.MatchString(s) }

// check validates the configuration as a whole.
func (l *loader) check() {
	c := &l.cfg
	l.oneOf("log_level", c.LogLevel, "trace", "debug", "info", "warn", "error")
	l.oneOf("http.auth", string(c.HTTP.Auth), string(wadi.AuthNomad), string(wadi.AuthNone))
	l.match("name", c.Name, nameRule, "letters, digits, dots, dashes and underscores, at most 64")
	l.match("gateway.domain", c.Gateway.Domain, domainRule, "a domain in lower case, such as apps.example.com")
	l.match("consul.prefix", c.Consul.Prefix, prefixRule, "a path without a slash in front, such as wadi/")
	c.Consul.Prefix, _ = KeyPrefix(c.Consul.Prefix)
	l.advertise()
	l.gatewayTLS()
	l.http()
	l.listeners()
	l.backend("nomad", c.Nomad.Address, c.Nomad.TLS)
	l.backend("consul", c.Consul.Address, c.Consul.TLS)

	between(l, "gateway.public_port", c.Gateway.PublicPort, 0, 65535)
	between(l, "gateway.tls.public_port", c.Gateway.TLS.PublicPort, 0, 65535)
	between(l, "activator.max_waiting", c.Activator.MaxWaiting, 1, 1_000_000)
	between(l, "activator.max_waiting_bytes", c.Activator.MaxWaitingBytes, 1<<20, 1<<40)
	between(l, "activator.max_wakes", c.Activator.MaxWakes, 1, 1000)
	between(l, "limits.max_instances", c.Limits.MaxInstances, 1, 10_000)
	between(l, "limits.max_request_timeout", c.Limits.MaxRequestTimeout, time.Second, 24*time.Hour)
	between(l, "limits.max_services", c.MaxServices, 1, 100_000)
	between(l, "limits.max_spec_bytes", c.Limits.MaxSpecBytes, 1<<10, 4<<20)
	between(l, "retention.keep_for", c.Retention.KeepFor, 0, 10*365*24*time.Hour)
	between(l, "retention.keep_active_for", c.Retention.KeepActiveFor, 0, 10*365*24*time.Hour)
	between(l, "retention.max", c.Retention.Max, 1, 1000)
	l.otlp()
	l.images()
	l.admission()
	l.foreignBlocks()
	l.assets()
}

// otlp checks the collector's address.
func (l *loader) otlp() {
	const path = "telemetry.otlp_endpoint"
	endpoint := l.cfg.Telemetry.OTLPEndpoint
	if endpoint == "" {
		return
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "":
		l.problem(l.at(path), path, "%q is not the address of a collector that speaks OTLP over HTTP, such as \"http://127.0.0.1:4318\"", endpoint)
	case u.User != nil:
		l.problem(l.at(path), path, "no user may stand in it; credentials go into the environment: OTEL_EXPORTER_OTLP_HEADERS")
	case strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/v1/traces"):
		l.problem(l.at(path), path, "leave out /v1/traces: it is added")
	case u.Port() == "4317":
		l.problem(l.at(path), path, "4317 is the usual port of OTLP over gRPC; this is OTLP over HTTP, whose usual port is 4318")
	}
}

// foreignBlocks reads the blocks in the language of services, or of Nomad.
func (l *loader) foreignBlocks() {
	var problems []wadi.Problem
	task := func(b *hcl.Block, path string, dst *[]byte) {
		if b == nil {
			return
		}
		out, ps := jobspecs.ParseTask(b.Body, path)
		problems = append(problems, ps...)
		*dst = out
	}
	task(l.queueProxy, "queue_proxy", (*[]byte)(&l.cfg.QueueProxyTask))
	task(l.sidecar, "mesh.sidecar_task", (*[]byte)(&l.cfg.SidecarTask))
	if l.defaults != nil {
		var ps []wadi.Problem
		l.cfg.Defaults, ps = jobspecs.ParseDefaults(l.defaults.Body)
		for i := range ps {
			ps[i].Path = strings.TrimSuffix(join("defaults", ps[i].Path), ".")
		}
		problems = append(problems, ps...)
	}
	l.problems = append(l.problems, problems...)
	if l.queueProxy == nil && !l.cfg.Dev && !l.unreadable {
		l.problem(place{}, "queue_proxy", "required: the Nomad task that runs the sidecar, for instance with the docker driver and its image")
	}
}

// at is the source of a setting, or of the block around it.
func (l *loader) at(path string) place {
	for p := path; ; {
		if at, ok := l.from[p]; ok {
			return at
		}
		i := strings.LastIndexByte(p, '.')
		if i < 0 {
			return place{}
		}
		p = p[:i]
	}
}

// oneOf checks a setting with a fixed set of values.
func (l *loader) oneOf(path, got string, allowed ...string) {
	for _, w := range allowed {
		if got == w {
			return
		}
	}
	l.problem(l.at(path), path, "%q is not one of %s", got, strings.Join(allowed, ", "))
}

// match checks a setting with a pattern.
func (l *loader) match(path, got string, rule *regexp.Regexp, what string) {
	if !rule.MatchString(got) || len(got) > 200 {
		l.problem(l.at(path), path, "%q is not %s", got, what)
	}
}

// between checks a setting with bounds.
func between[T int | int64 | time.Duration](l *loader, path string, got, low, high T) {
	if got < low || got > high {
		l.problem(l.at(path), path, "%v is not between %v and %v", got, low, high)
	}
}

// advertise checks the host that other agents use.
func (l *loader) advertise() {
	host := l.cfg.Advertise
	if host == "" {
		return
	}
	a, err := netip.ParseAddr(host)
	if err == nil && !a.IsUnspecified() {
		return
	}
	if err == nil || !domainRule.MatchString(host) || numeric(host) {
		l.problem(l.at("advertise"), "advertise", "%q is neither an address of this machine nor a host name", host)
	}
}

// numeric reports whether a host looks like a mistyped address.
func numeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, err := strconv.Atoi(last)
	return err == nil
}

// listeners checks the addresses, and that no two are equal.
func (l *loader) listeners() {
	c := &l.cfg
	type listener struct{ path, host, port string }
	var good []listener
	all := []struct{ path, addr string }{
		{"http.address", c.HTTP.Address}, {"metrics.address", c.Metrics.Address},
		{"gateway.address", c.Gateway.Address}, {"activator.address", c.Activator.Address},
	}
	if _, ok := l.from["gateway.tls"]; ok {
		all = append(all, struct{ path, addr string }{"gateway.tls.address", c.Gateway.TLS.Address})
	}
	for _, a := range all {
		host, port, ok := listen(a.addr)
		if !ok {
			l.problem(l.at(a.path), a.path, "%q is not an address to listen on, such as \"127.0.0.1:4747\"", a.addr)
			continue
		}
		for _, o := range good {
			if port != "0" && port == o.port && (host == o.host || anyHost(host) || anyHost(o.host)) {
				l.problem(l.at(a.path), a.path, "%q is taken by %s", a.addr, o.path)
			}
		}
		good = append(good, listener{a.path, host, port})
	}
	host, _, ok := listen(c.HTTP.Address)
	if ok && c.HTTP.Auth == wadi.AuthNone && !wadi.IsLoopback(host) {
		l.problem(l.at("http.auth"), "http.auth", "\"none\" gives every caller every right, and is possible on a loopback address only, not on %q", c.HTTP.Address)
	}
}

// gatewayTLS checks the folder of certificates. The agent reads the certificates when it
// starts, and after every change.
func (l *loader) gatewayTLS() {
	const path = "gateway.tls.cert_dir"
	dir := l.cfg.Gateway.TLS.CertDir
	if _, ok := l.from["gateway.tls"]; !ok {
		return
	}
	_, acme := l.from["gateway.tls.acme"]
	if acme {
		l.acme()
	}
	if dir == "" {
		if !acme {
			l.problem(l.at(path), path, "required: the folder with NAME.pem (or NAME.crt) and NAME.key of each certificate; or an acme block, by which agents obtain certificates")
		}
		return
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		l.problem(l.at(path), path, "there is no folder %q", dir)
	}
}

// listen splits a listener's address: an IP address, localhost or nothing, and a port.
func listen(addr string) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", "", false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "", "", false
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		return "", "", false
	}
	return host, port, true
}

func anyHost(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "" || err == nil && a.IsUnspecified()
}

// backend checks the address and the TLS files of Nomad or Consul.
func (l *loader) backend(block, address string, t TLS) {
	path := block + ".address"
	u, err := url.Parse(address)
	good := err == nil && (u.Scheme == "unix" && u.Path != "" ||
		(u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.RawQuery == "")
	switch {
	case err == nil && u.User != nil: // All readers of the doctor's report see the address.
		l.problem(l.at(path), path, "no user may stand in it; the agent's token is that of %s { token }", block)
	case !good:
		l.problem(l.at(path), path, "%q is not an address such as \"http://%s.example.com\" or \"unix:///run/%s.sock\"", address, block, block)
	}
	l.tlsFiles(block, t)
}

// tlsFiles checks that the files of a block are there, and that a certificate has a key.
func (l *loader) tlsFiles(block string, t TLS) {
	for _, f := range []struct{ path, file string }{
		{block + ".ca_file", t.CAFile}, {block + ".cert_file", t.CertFile}, {block + ".key_file", t.KeyFile},
	} {
		if f.file == "" {
			continue
		}
		if info, err := os.Stat(f.file); err != nil || info.IsDir() {
			l.problem(l.at(f.path), f.path, "there is no file %q", f.file)
		}
	}
	switch {
	case t.CertFile == "" && t.KeyFile != "":
		l.problem(l.at(block+".key_file"), block+".key_file", "is of no use without cert_file")
	case t.CertFile != "" && t.KeyFile == "":
		l.problem(l.at(block+".cert_file"), block+".cert_file", "is of no use without key_file")
	}
}
