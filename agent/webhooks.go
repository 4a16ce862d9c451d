package agent

import (
	"sync"

	"github.com/wadi-run/wadi/agent/admission/webhook"
	"github.com/wadi-run/wadi/agent/config"
)

// webhooks are the admission webhooks that are in force.
type webhooks struct {
	metrics *webhook.Metrics

	mu  sync.Mutex
	all []*webhook.Webhook
}

// open makes the webhooks of a configuration. Nothing is left open on an error.
func (h *webhooks) open(configured []config.Webhook) (all []*webhook.Webhook, err error) {
	for _, c := range configured {
		w, err := webhook.New(webhook.Config{
			Name: c.Name, URL: c.URL, Mutate: c.Kind == config.KindMutate, Require: c.OnFailure != config.OnFailureIgnore,
			Timeout: c.Timeout, CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, Metrics: h.metrics,
		})
		if err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, nil
}

// use closes the idle connections of the webhooks that were in force before. Questions that
// have been asked are answered.
func (h *webhooks) use(all []*webhook.Webhook) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.all {
		w.Close()
	}
	h.all = all
}

func (h *webhooks) close() { h.use(nil) }
