package consul

import (
	"context"
	"fmt"
)

// Keys lists the keys below a prefix, sorted, without their values. A key that the token
// may not read is left out, as in [Client.List].
func (c *Client) Keys(ctx context.Context, prefix string) ([]string, error) {
	keys, meta, err := c.api().KV().Keys(prefix, "", present(ctx))
	if err != nil {
		return nil, Wrap("list the keys of "+prefix, err)
	}
	if err := answered(meta); err != nil {
		return nil, fmt.Errorf("list the keys of %s: %w", prefix, err)
	}
	return keys, nil
}
