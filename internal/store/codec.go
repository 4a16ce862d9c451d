package store

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/wadi-run/wadi"
)

// kind is the kind of a value, and the first part of its key.
type kind string

const (
	kindIndex    kind = "index"
	kindRoute    kind = "route"
	kindSpec     kind = "spec"
	kindRevision kind = "revision"
	kindState    kind = "state"
	kindStatus   kind = "status"
	kindOverride kind = "override"
	kindLoad     kind = "load"
	kindDomain   kind = "domain"
	kindTag      kind = "tag"
	kindEvents   kind = "events"
	kindMark     kind = "mark"
	kindCheck    kind = "check"

	kindAccount     kind = "account"
	kindCertificate kind = "certificate"
	kindOrder       kind = "order"
	kindChallenge   kind = "challenge"
)

const (
	// gzipAbove is the size in bytes from which on a value is compressed.
	gzipAbove = 4 << 10
	// maxValue bounds a value before compression, so that no stored value can make an
	// agent run out of memory.
	maxValue = 8 << 20
)

// envelope wraps every value.
type envelope struct {
	Schema int             `json:"schema"`
	Kind   kind            `json:"kind"`
	Data   json.RawMessage `json:"data"`
}

// migration lifts the data of one schema to the next.
type migration func(json.RawMessage) (json.RawMessage, error)

// codec writes values as JSON in an envelope, gzipped where large. Equal values
// give equal bytes.
type codec struct {
	// migrations of a kind, oldest first: the i-th lifts schema i+1. A kind's
	// schema is their number plus one.
	migrations map[kind][]migration
}

func (c codec) schema(k kind) int { return len(c.migrations[k]) + 1 }

func (c codec) encode(k kind, v any) ([]byte, error) {
	data, err := marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", k, err)
	}
	b, err := marshal(envelope{Schema: c.schema(k), Kind: k, Data: data})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", k, err)
	}
	if len(b) > maxValue {
		return nil, fmt.Errorf("encode %s: %d MiB: %w", k, len(b)>>20, wadi.ErrTooLarge)
	}
	if len(b) <= gzipAbove {
		return b, nil
	}
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(b); err != nil {
		return nil, fmt.Errorf("compress %s: %w", k, err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress %s: %w", k, err)
	}
	return buf.Bytes(), nil
}

// decode reads a value of this or an older Wadi.
func (c codec) decode(k kind, b []byte, v any) error {
	b, err := inflate(b)
	if err != nil {
		return err
	}
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return fmt.Errorf("not a value of Wadi's: %w", err)
	}
	known := c.schema(k)
	switch {
	case e.Kind != k || e.Schema < 1:
		return fmt.Errorf("not a %s of Wadi's (kind %q, schema %d)", k, e.Kind, e.Schema)
	case e.Schema > known:
		return fmt.Errorf("written by a newer Wadi: its schema is %d, this agent knows %d; upgrade this agent", e.Schema, known)
	}
	for i, lift := range c.migrations[k][e.Schema-1:] {
		if e.Data, err = lift(e.Data); err != nil {
			return fmt.Errorf("lift from schema %d: %w", e.Schema+i, err)
		}
	}
	if err := json.Unmarshal(e.Data, v); err != nil {
		return fmt.Errorf("decode %s: %w", k, err)
	}
	return nil
}

// inflate decompresses b if it begins as gzip does.
func inflate(b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		return b, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(r, maxValue+1))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if len(out) > maxValue {
		return nil, errors.New("decompress: larger than anything Wadi writes")
	}
	return out, nil
}

// marshal leaves <, > and & in a stored job as they are.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// sum is the hash of an encoded value, as the index holds it.
func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:8])
}
