package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// installationKey is where the installation's own name is, beside the kinds.
const installationKey = "installation"

// Installation names this installation of Wadi, as no other one is named: neither one
// with another prefix, nor one with the same prefix in another Consul. Who asks first
// makes it. A Consul that has lost it is another installation.
func (s *Store) Installation(ctx context.Context) (string, error) {
	key := s.prefix + installationKey
	for range 2 {
		p, err := s.kv.Get(ctx, key)
		if err == nil {
			return string(p.Value), nil
		}
		if !errors.Is(err, wadi.ErrNotFound) {
			return "", fmt.Errorf("read the installation's name: %w", err)
		}
		name := rand.Text()
		_, err = s.kv.Txn(ctx, []consul.Op{{Verb: consul.CAS, Key: key, Value: []byte(name)}})
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, wadi.ErrConflict) {
			return "", fmt.Errorf("name the installation: %w", err)
		}
	}
	return "", fmt.Errorf("name the installation: %w", wadi.ErrConflict)
}
