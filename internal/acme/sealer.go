package acme

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/wadi-run/wadi/internal/certfile"
)

// sealed begins an encrypted private key. The rest is nonce and text, in base64.
const sealed = "aes256gcm:"

// Sealer encrypts private keys for Consul. The zero value leaves them as they are.
type Sealer struct{ aead cipher.AEAD }

// LoadSealer reads the file of the encryption key: 32 bytes in base64, as consul keygen
// prints. No file is the zero Sealer.
func LoadSealer(file string) (Sealer, error) {
	if file == "" {
		return Sealer{}, nil
	}
	text, err := certfile.Read(file)
	if err != nil {
		return Sealer{}, err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != 32 {
		return Sealer{}, fmt.Errorf("%s: it holds no key of 32 bytes in base64; make one with consul keygen", file)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return Sealer{}, fmt.Errorf("%s: %w", file, err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return Sealer{}, fmt.Errorf("%s: %w", file, err)
	}
	return Sealer{aead}, nil
}

// seal returns a private key as it is stored under a name. Under another name it can't be
// opened.
func (s Sealer) seal(name string, key []byte) string {
	if s.aead == nil {
		return string(key)
	}
	nonce := make([]byte, s.aead.NonceSize())
	_, _ = rand.Read(nonce) // It does not fail.
	return sealed + base64.StdEncoding.EncodeToString(s.aead.Seal(nonce, nonce, key, []byte(name)))
}

// open is the private key that is stored under a name. Keys that were stored before there
// was an encryption key are opened as they are.
func (s Sealer) open(name, stored string) ([]byte, error) {
	text, encrypted := strings.CutPrefix(stored, sealed)
	if !encrypted {
		return []byte(stored), nil
	}
	if s.aead == nil {
		return nil, errors.New("its private key is encrypted, and this agent has no gateway.tls.acme.encryption_key_file")
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) < s.aead.NonceSize() {
		return nil, errors.New("its encrypted private key is damaged")
	}
	n := s.aead.NonceSize()
	key, err := s.aead.Open(nil, b[:n], b[n:], []byte(name))
	if err != nil {
		return nil, errors.New("its private key can't be decrypted with the key of gateway.tls.acme.encryption_key_file; all agents need the same")
	}
	return key, nil
}
