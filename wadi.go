// Package wadi holds Wadi's vocabulary: what a service, a revision, a route, a
// sample and a decision are, and the sentinel errors that its parts share.
//
// It promises to depend on the standard library alone and to do no I/O. A Nomad
// job is opaque JSON here; what it means is known by package jobspecs only.
//
// The words:
//
//   - A [Service] is what a user submits: how one instance runs, how it scales,
//     and where its traffic goes.
//   - A [Revision] is one immutable version of how an instance runs. It is one
//     Nomad job.
//   - An instance is one running copy of a revision: one Nomad allocation.
//   - A [Route] says which revisions answer for a service, for whom, and how a
//     request to them is queued.
package wadi

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Header names that Wadi's parts use among themselves. They are stripped from
// what callers send, wherever a request enters Wadi.
const (
	// HeaderService names the service that a request is for.
	HeaderService = "Wadi-Service"
	// HeaderRevision names the revision that a request is for.
	HeaderRevision = "Wadi-Revision"
	// HeaderInstance names the allocation that a request is for. A queue-proxy
	// of another one answers 421.
	HeaderInstance = "Wadi-Instance"
	// HeaderProxied marks a request that came through an activator, which counts it.
	// Anybody may send it: it is believed of whom the mesh names as an activator, and
	// without the mesh of who sends the revision's [Proof] in it.
	HeaderProxied = "Wadi-Proxied"
	// HeaderProbe carries the revision that a probe on the traffic path asks for.
	// The queue-proxy answers it itself, and names revision and allocation in
	// HeaderRevision and HeaderInstance of its answer.
	HeaderProbe = "Wadi-Probe"
	// HeaderError says, in an answer that Wadi gives itself, why; see docs/data-plane.md.
	// A queue-proxy strips it from its app's answers: one that a queue-proxy gives has
	// it of that itself.
	HeaderError = "Wadi-Error"
	// HeaderUnready of a queue-proxy's answer says why its app is not ready.
	HeaderUnready = "Wadi-Unready"
	// HeaderTag selects a tagged traffic target. It is the caller's to set.
	HeaderTag = "Wadi-Tag"
)

// InternalHeaders lists the headers that only Wadi may set.
func InternalHeaders() []string {
	return []string{HeaderService, HeaderRevision, HeaderInstance, HeaderProxied, HeaderProbe}
}

// Proof is what an activator proves itself by to the instances of a revision that is
// not in the mesh: a secret that agents read in Consul, and of which the instances
// know the digest alone. Printed it says nothing.
type Proof string

// String hides the secret.
func (p Proof) String() string {
	if p == "" {
		return ""
	}
	return "(secret)"
}

// GoString hides the secret.
func (p Proof) GoString() string { return p.String() }

// Digest is what the secret is known by to those who need not know it.
func (p Proof) Digest() string {
	sum := sha256.Sum256([]byte(p))
	return hex.EncodeToString(sum[:])
}

// RevisionID names the n-th revision of a service, for instance hello-00001.
// It is also the ID of the revision's Nomad job.
func RevisionID(service string, n int) string {
	return fmt.Sprintf("%s-%05d", service, n)
}

// SplitRevisionID reverses RevisionID. ok is false when id is not of that form.
func SplitRevisionID(id string) (service string, n int, ok bool) {
	i := strings.LastIndexByte(id, '-')
	if i <= 0 || len(id)-i-1 < 5 {
		return "", 0, false
	}
	for _, c := range id[i+1:] {
		if c < '0' || c > '9' || n > 1<<40 {
			return "", 0, false
		}
		n = n*10 + int(c-'0')
	}
	return id[:i], n, true
}

// Duration is a time.Duration that reads and writes as "1m30s" in JSON.
type Duration time.Duration

// D is d as the standard library's type.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String formats d as the standard library does.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes d as, for instance, "1m30s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("duration: %w", err)
	}
	*d = Duration(v)
	return nil
}

// UnknownNamespace is asked about in place of the namespace of a service that there is not: the
// answer takes as long as that about one of somebody else's. No namespace has that name.
const UnknownNamespace = "wadi.nowhere"
