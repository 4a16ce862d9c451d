// Package acme obtains certificates for the domains that services claim, from an authority
// that speaks ACME (RFC 8555), keeps them in Consul, and hands them to the gateway.
//
// It promises that only the leader orders, one domain at a time, and only domains that a
// public service claims: no handshake and no request ever causes an order. It promises that
// an attempt is stored before it is made, so that neither a new leader nor a restart repeats
// it, that a certificate is kept until a better one is there, and that no key and no answer
// to an authority is logged. It refuses wildcards, and to judge who may claim a domain.
//
// [Orderer] is the leader's loop, and [Plan] what it decides. [Holder] is every agent's.
package acme

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// The ways in which an authority checks a domain.
const (
	HTTP    = "http-01"
	TLSALPN = "tls-alpn-01"
)

// Rules bound what is ordered, and when.
type Rules struct {
	Directory     string   // URL of the authority's directory.
	Challenges    []string // HTTP, TLSALPN: one at each attempt, in turn. At least one.
	RenewBefore   time.Duration
	MaxDomains    int
	OrdersPerHour int
}

const (
	// orderTimeout bounds an attempt, from the account to the certificate.
	orderTimeout = 2 * time.Minute
	// orderGone is how long after its beginning an attempt is surely over, whose leader is
	// gone: a paused one may still go on for a while.
	orderGone = orderTimeout + 30*time.Second
	// keepUnclaimed is how long what is stored of a domain outlives its last service: a
	// service that comes back, or another that takes the domain over, needs no order.
	keepUnclaimed = 72 * time.Hour
	// maxChain bounds a chain of certificates, in bytes of PEM.
	maxChain = 64 << 10
	// maxError bounds the text of an authority's error, in characters.
	maxError = 300
)

// newKey makes a private key, of the kind that every client knows and that is small.
func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// keyPEM is a private key as it is stored.
func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// parseKey reads a private key that keyPEM wrote.
func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("a private key is stored that is not PEM")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("a private key is stored that can't be parsed") // The library's error could quote it.
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("a private key is stored that is no ECDSA key")
	}
	return key, nil
}

// parseLeaf reads the first certificate of a chain in PEM.
func parseLeaf(chain []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(chain)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no certificate in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}
