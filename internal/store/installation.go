package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// installationKey is the key of the installation's name. It is of no kind.
const installationKey = "installation"

// Installation is the unique name of this installation: of this prefix in this Consul. The
// first call makes it. A Consul that has lost it is another installation.
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
