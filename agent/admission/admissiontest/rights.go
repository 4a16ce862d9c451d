package admissiontest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wadi-run/wadi"
)

// Grant lists the namespaces in which a token has rights.
type Grant struct {
	Submit, Read []string // Submit includes the right to read.
	Blind, Scale []string // The rights to submit and to scale, without the right to read.
}

// Allow switches the ACL on and gives token a grant.
func (n *Nomad) Allow(token string, g Grant) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.tokens == nil {
		n.tokens = map[string]Grant{}
	}
	n.tokens[token] = g
}

// MayWriteIntentions is the fake of Consul: without Guard every token may.
func (n *Nomad) MayWriteIntentions(_ context.Context, token, service string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return n.down
	}
	if n.guarded != nil && !slices.Contains(n.guarded[token], service) {
		return wadi.ErrForbidden
	}
	return nil
}

// Guard switches Consul's ACLs on: a token may write the intentions of services.
func (n *Nomad) Guard(token string, services ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.guarded == nil {
		n.guarded = map[string][]string{}
	}
	n.guarded[token] = append(n.guarded[token], services...)
}

// Asked lists what was asked for rights, and empties the list.
func (n *Nomad) Asked() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.asked
	n.asked = nil
	return out
}

// may is called with mu held.
func (n *Nomad) may(token, namespace string, pick func(Grant) []string) error {
	allowed := slices.Contains(pick(n.tokens[token]), namespace)
	n.asked = append(n.asked, fmt.Sprintf("allowed=%t", allowed))
	if n.down != nil {
		return n.down
	}
	if n.tokens != nil && !allowed {
		return wadi.ErrForbidden
	}
	return nil
}

func submit(g Grant) []string { return append(slices.Clone(g.Submit), g.Blind...) }
func read(g Grant) []string   { return append(slices.Clone(g.Submit), g.Read...) }

// MaySubmit implements admission.Rights.
func (n *Nomad) MaySubmit(_ context.Context, token, namespace string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.may(token, namespace, submit)
}

// MayRead implements server.Rights.
func (n *Nomad) MayRead(_ context.Context, token, namespace string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.may(token, namespace, read)
}

// MayScale implements server.Rights: the right to submit includes it.
func (n *Nomad) MayScale(_ context.Context, token, namespace string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.may(token, namespace, func(g Grant) []string { return append(submit(g), g.Scale...) })
}

// Known implements server.Rights: tokens with a grant are known, an empty grant included.
func (n *Nomad) Known(ctx context.Context, token string) (acls bool, err error) {
	n.mu.Lock()
	_, ok := n.tokens[token]
	n.asked = append(n.asked, "known")
	acls, err = n.tokens != nil, n.down
	n.mu.Unlock()
	switch {
	case err != nil || !acls:
	case token == "":
		err = n.MayRead(ctx, token, "default")
	case !ok:
		err = fmt.Errorf("%w: ACL token not found", wadi.ErrForbidden)
	}
	return acls, err
}

// Readable implements server.Rights.
func (n *Nomad) Readable(ctx context.Context, token string, namespaces []string) (map[string]bool, error) {
	out := map[string]bool{}
	for _, ns := range namespaces {
		switch err := n.MayRead(ctx, token, ns); {
		case err == nil:
			out[ns] = true
		case !errors.Is(err, wadi.ErrForbidden):
			return nil, err
		}
	}
	if len(out) == 0 {
		if _, err := n.Known(ctx, token); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Revoke makes a token unknown.
func (n *Nomad) Revoke(token string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.tokens, token)
}

// TokenName implements server.Rights: every token is named alice.
func (n *Nomad) TokenName(_ context.Context, token string) string {
	if token == "" {
		return ""
	}
	return "alice"
}
