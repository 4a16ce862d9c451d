package store

import (
	"context"
	"encoding/json"

	"github.com/wadi-run/wadi/internal/consul"
)

// Consul is the client of a store that has one.
func (s *Store) Consul() *consul.Client { return s.kv.(*consul.Client) }

// Codec is the codec, for tests.
type Codec struct{ c codec }

// NewCodec returns a codec that lifts specs by the given migrations.
func NewCodec(specs ...func(json.RawMessage) (json.RawMessage, error)) Codec {
	c := codec{migrations: map[kind][]migration{}}
	for _, m := range specs {
		c.migrations[kindSpec] = append(c.migrations[kindSpec], m)
	}
	return Codec{c}
}

// Encode and Decode are those of a spec.
func (c Codec) Encode(v any) ([]byte, error)      { return c.c.encode(kindSpec, v) }
func (c Codec) Decode(b []byte, v any) error      { return c.c.decode(kindSpec, b, v) }
func (c Codec) DecodeRoute(b []byte, v any) error { return c.c.decode(kindRoute, b, v) }

// Indexes is the index, for tests.
func (s *Store) Indexes(ctx context.Context) (map[string]Index, error) { return s.indexes(ctx) }

// WatchIndex calls fn with the index of every service, now and after every change.
func (s *Store) WatchIndex(ctx context.Context, fn func(map[string]Index)) error {
	return watch(ctx, s, kindIndex, true, func(now map[string]Index, _ map[string]bool) { fn(now) })
}

// Lifting is the store with migrations of a kind.
func (s *Store) Lifting(k string, lifts ...func(json.RawMessage) (json.RawMessage, error)) *Store {
	s.codec.migrations = map[kind][]migration{}
	for _, m := range lifts {
		s.codec.migrations[kind(k)] = append(s.codec.migrations[kind(k)], m)
	}
	return s
}

// DecodeAs decodes a value of any kind.
func (c Codec) DecodeAs(k string, b []byte, v any) error { return c.c.decode(kind(k), b, v) }
