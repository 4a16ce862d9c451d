package config

import (
	"net/url"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/wadi-run/wadi"
)

const (
	// maxWebhooks bounds the webhooks that each submission waits for, one after the other.
	maxWebhooks = 16
	// maxTimeouts bounds their timeouts together: a submission is judged within 30s, and
	// with on_failure "ignore" that has to do while all webhooks are away.
	maxTimeouts = 24 * time.Second
)

// webhook reads one admission block. A later file may change the settings of a webhook by
// its name.
func (l *loader) webhook(b *hcl.Block) {
	name := b.Labels[0]
	path, at := join("admission", name), place{rng: b.DefRange}
	if first, twice := l.from[path]; twice && first.rng.Filename == b.DefRange.Filename {
		l.problem(at, path, "there is an admission webhook of that name already, at line %d", first.rng.Start.Line)
		return
	}
	all := &l.cfg.Webhooks
	i := slices.IndexFunc(*all, func(w Webhook) bool { return w.Name == name })
	if i < 0 {
		i = len(*all)
		*all = append(*all, newWebhook(name))
	}
	l.from[path] = at
	w := (*all)[i] // Settings are read into a copy: the list may move.
	l.body(b.Body, path, webhookSection(&w))
	(*all)[i] = w
}

// newWebhook is a webhook with the defaults.
func newWebhook(name string) Webhook {
	return Webhook{Name: name, Kind: KindValidate, OnFailure: OnFailureRefuse, Timeout: 2 * time.Second}
}

// webhookSection is the inside of an admission block.
func webhookSection(w *Webhook) section {
	return section{settings: withTLS(&w.TLS, map[string]any{
		"url": &w.URL, "kind": &w.Kind, "on_failure": &w.OnFailure, "timeout": &w.Timeout,
	})}
}

// admission checks the webhooks.
func (l *loader) admission() {
	var all time.Duration
	for i, w := range l.cfg.Webhooks {
		path := join("admission", w.Name)
		l.match(path, w.Name, nameRule, "letters, digits, dots, dashes and underscores, at most 64")
		if i == maxWebhooks {
			l.problem(l.at(path), path, "at most %d webhooks are possible", maxWebhooks)
		}
		l.webhookURL(path+".url", w.URL)
		l.oneOf(path+".kind", w.Kind, KindValidate, KindMutate)
		l.oneOf(path+".on_failure", w.OnFailure, OnFailureRefuse, OnFailureIgnore)
		between(l, path+".timeout", w.Timeout, 10*time.Millisecond, 10*time.Second)
		timeout := min(w.Timeout, 10*time.Second) // More is reported already.
		if all += timeout; all > maxTimeouts && all-timeout <= maxTimeouts {
			l.problem(l.at(path+".timeout"), path+".timeout", "with it the timeouts of all webhooks are more than %s together, and a submission asks one after the other; use shorter ones", maxTimeouts)
		}
		l.tlsFiles(path, w.TLS)
	}
}

// webhookURL checks where a webhook is. Its questions may hold secrets of services.
func (l *loader) webhookURL(path, address string) {
	u, err := url.Parse(address)
	switch {
	case slices.ContainsFunc(l.problems, func(p wadi.Problem) bool { return p.Path == path }): // It was not read.
	case address == "":
		l.problem(l.at(path), path, "required: where the webhook is, such as \"https://policy.example.com/admit\"")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Fragment != "":
		l.problem(l.at(path), path, "it is not an address such as \"https://policy.example.com/admit\"") // Unquoted: it may hold a key.
	case u.User != nil:
		l.problem(l.at(path), path, "no user may stand in it; use cert_file and key_file to prove who asks")
	case u.Scheme == "http" && !wadi.IsLoopback(u.Hostname()):
		l.problem(l.at(path), path, "https is required: what a webhook is asked may hold secrets; http is possible on this machine only")
	}
}
