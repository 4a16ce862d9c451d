package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// section lists the settings and blocks that are allowed in a block.
type section struct {
	settings map[string]any // Destinations by name; see loader.assign.
	blocks   map[string]section
	labels   []string

	// read handles the block in place of settings and blocks. value is the field for what is
	// read there.
	read  func(b *hcl.Block)
	value any

	// live: a reload changes all settings of the block; else those that are wrapped in
	// [live] alone. See [Changes].
	live bool
	// many allows more than one in a file.
	many bool
}

// top is the whole language of the configuration.
func (l *loader) top() section {
	c := &l.cfg
	return section{
		settings: map[string]any{"log_level": live{&c.LogLevel}, "log_json": live{&c.LogJSON}, "name": &c.Name, "advertise": &c.Advertise},
		blocks: map[string]section{
			"http":    l.httpSection(),
			"metrics": {settings: map[string]any{"address": &c.Metrics.Address}},
			"gateway": l.gatewaySection(),
			"activator": {settings: map[string]any{
				"address": &c.Activator.Address, "max_waiting": live{&c.Activator.MaxWaiting},
				"max_waiting_bytes": live{size{&c.Activator.MaxWaitingBytes}}, "max_wakes": live{&c.Activator.MaxWakes},
			}},
			"nomad": {settings: withTLS(&c.Nomad.TLS, map[string]any{
				"address": address{&c.Nomad.Address}, "region": &c.Nomad.Region,
				"token": live{&c.Nomad.Token}, "token_file": live{&c.Nomad.TokenFile},
			})},
			"consul": {settings: withTLS(&c.Consul.TLS, map[string]any{
				"address": address{&c.Consul.Address}, "prefix": &c.Consul.Prefix,
				"token": live{&c.Consul.Token}, "token_file": live{&c.Consul.TokenFile},
				"allow_intentions": live{&c.Consul.AllowIntentions},
			})},
			"mesh": {
				settings: map[string]any{"shield": live{&c.Mesh.Shield}},
				blocks:   map[string]section{"sidecar_task": {read: func(b *hcl.Block) { l.sidecar = b }, value: &c.SidecarTask, live: true}},
			},
			"assets": {settings: map[string]any{
				"dir": &c.Assets.Dir, "url": live{&c.Assets.URL}, "arch": live{&c.Assets.Arch},
			}},
			"queue_proxy": {read: func(b *hcl.Block) { l.queueProxy = b }, value: &c.QueueProxyTask, live: true},
			"defaults":    {read: func(b *hcl.Block) { l.defaults = b }, value: &c.Defaults, live: true},
			"limits": {live: true, settings: map[string]any{
				"max_instances": &c.Limits.MaxInstances, "max_request_timeout": &c.Limits.MaxRequestTimeout,
				"max_spec_bytes": intSize{&c.Limits.MaxSpecBytes}, "max_services": &c.MaxServices,
			}},
			"retention": {live: true, settings: map[string]any{
				"keep_for": &c.Retention.KeepFor, "keep_active_for": &c.Retention.KeepActiveFor, "max": &c.Retention.Max,
			}},
			"admission":       {labels: []string{"name"}, many: true, read: l.webhook, value: &c.Webhooks, live: true},
			"admission_meta":  {live: true, settings: map[string]any{"require": names{&c.AdmissionRules.Meta}}},
			"admission_tasks": {live: true, settings: map[string]any{"drivers": names{&c.AdmissionRules.Drivers}, "images": &c.AdmissionRules.Images}},
			"images":          l.imagesSection(),
			"telemetry":       {settings: map[string]any{"otlp_endpoint": &c.Telemetry.OTLPEndpoint, "access_log": live{&c.Telemetry.AccessLog}}},
		},
	}
}

// httpSection is the block http, with its TLS.
func (l *loader) httpSection() section {
	h := &l.cfg.HTTP
	return section{
		settings: map[string]any{
			"address": &h.Address, "auth": &h.Auth, "allowed_hosts": live{&h.AllowedHosts}, "requests_per_second": live{&h.RequestsPerSecond},
		},
		blocks: map[string]section{"tls": {settings: map[string]any{
			"cert_file": live{&h.TLS.CertFile}, "key_file": live{&h.TLS.KeyFile}, "ca_file": live{&h.TLS.CAFile}, "verify_client": live{&h.TLS.VerifyClient},
		}}},
	}
}

// gatewaySection is the block gateway, with its listener for HTTPS.
func (l *loader) gatewaySection() section {
	g := &l.cfg.Gateway
	return section{
		settings: map[string]any{
			"address": &g.Address, "public_port": live{&g.PublicPort}, "domain": live{&g.Domain}, "trusted_proxies": live{&g.TrustedProxies},
		},
		blocks: map[string]section{"tls": {
			settings: map[string]any{
				"address": &g.TLS.Address, "public_port": live{&g.TLS.PublicPort}, "cert_dir": &g.TLS.CertDir, "redirect": live{&g.TLS.Redirect},
			},
			blocks: map[string]section{"acme": acmeSection(&g.TLS.ACME)},
		}},
	}
}

// acmeSection is the block gateway.tls.acme.
func acmeSection(a *ACME) section {
	return section{settings: map[string]any{
		"agree_terms": &a.AgreeTerms, "directory": &a.Directory, "email": &a.Email, "ca_file": &a.CAFile,
		"challenges": names{&a.Challenges}, "renew_before": &a.RenewBefore,
		"max_domains": &a.MaxDomains, "orders_per_hour": &a.OrdersPerHour, "encryption_key_file": &a.EncryptionKeyFile,
		"eab_key_id": &a.EABKeyID, "eab_mac_key_file": &a.EABMACKeyFile,
	}}
}

// imagesSection is the block images.
func (l *loader) imagesSection() section {
	i := &l.cfg.Images
	return section{live: true, settings: map[string]any{
		"docker_config": &i.DockerConfig, "timeout": &i.Timeout, "ca_file": &i.CAFile, "certs_dir": &i.CertsDir,
		"allow_networks": &i.AllowNetworks, "insecure_registries": &i.InsecureRegistries,
	}}
}

// withTLS adds the settings of TLS files.
func withTLS(t *TLS, settings map[string]any) map[string]any {
	settings["ca_file"], settings["cert_file"], settings["key_file"] = live{&t.CAFile}, live{&t.CertFile}, live{&t.KeyFile}
	return settings
}

// body reads the body of a block, or of a file with an empty path.
func (l *loader) body(b hcl.Body, path string, s section) {
	schema := &hcl.BodySchema{}
	for _, name := range slices.Sorted(maps.Keys(s.settings)) {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: name})
	}
	for _, name := range slices.Sorted(maps.Keys(s.blocks)) {
		schema.Blocks = append(schema.Blocks, hcl.BlockHeaderSchema{Type: name, LabelNames: s.blocks[name].labels})
	}
	content, diags := b.Content(schema)
	l.diagnostics(diags, path)
	for name, attr := range content.Attributes {
		rng := attr.Expr.Range()
		v, diags := l.constants.Value(attr.Expr)
		l.diagnostics(diags, join(path, name))
		if !diags.HasErrors() && !v.IsNull() {
			l.set(join(path, name), place{rng: rng}, v, s.settings[name])
		}
	}
	for name, found := range content.Blocks.ByType() {
		for i, b := range found {
			l.block(b, join(path, name), s.blocks[name], found[0], i)
		}
	}
}

// block reads the i-th block of its kind in a file.
func (l *loader) block(b *hcl.Block, path string, s section, first *hcl.Block, i int) {
	at := place{rng: b.DefRange}
	switch {
	case i > 0 && !s.many:
		l.problem(at, path, "only one %s block may stand here; the first is at line %d", b.Type, first.DefRange.Start.Line)
	case s.read != nil:
		l.from[path] = at
		s.read(b)
	default:
		l.from[path] = at
		l.body(b.Body, path, s)
	}
}

// diagnostics turns HCL's diagnostics into problems. The path of an unsupported name ends
// with the name.
func (l *loader) diagnostics(diags hcl.Diagnostics, path string) {
	for _, d := range diags {
		p, at := path, place{}
		if d.Subject != nil {
			at.rng = *d.Subject
		}
		if name := quoted(d.Detail); hclsyntax.ValidIdentifier(name) && strings.HasPrefix(d.Summary, "Unsupported") {
			p = join(path, name)
		}
		l.problem(at, p, "%s", jobspecs.DiagnosticText(d))
	}
}

// quoted returns the first quoted text in s.
func quoted(s string) string {
	_, s, _ = strings.Cut(s, `"`)
	s, _, _ = strings.Cut(s, `"`)
	return s
}

// problem adds a problem of the setting path at a place.
func (l *loader) problem(at place, path, format string, args ...any) {
	p := wadi.Problem{Path: path, Message: fmt.Sprintf(format, args...)}
	switch {
	case at.name != "":
		p.Path = at.name
	case at.rng.Filename != "":
		p.File, p.Line, p.Column = at.rng.Filename, at.rng.Start.Line, at.rng.Start.Column
	}
	l.problems = append(l.problems, p)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
