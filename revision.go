package wadi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
)

// Revision is one immutable version of how an instance of a service runs.
type Revision struct {
	ID       string  `json:"id"` // RevisionID(Service, Number); also the Nomad job's ID.
	Service  string  `json:"service"`
	Number   int     `json:"number"`
	Created  int64   `json:"created"`   // Unix seconds.
	SpecHash string  `json:"spec_hash"` // Of what makes a revision; see jobspecs.RevisionHash.
	Spec     Service `json:"spec"`      // As submitted with this revision.
	Images   []Image `json:"images,omitempty"`

	// Proof is empty in the mesh, where certificates identify activators. Agents share
	// it; the API does not show it.
	Proof Proof `json:"proof,omitempty"`

	// Job is the Nomad job, rendered once when the revision was submitted and never
	// again: the controller restores it when it was changed in Nomad.
	Job json.RawMessage `json:"job"`

	// Assets are the SHA-256 sums of the programs that its instances fetch from agents:
	// empty where they are on the nodes, or images.
	Assets []string `json:"assets,omitempty"`
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

// PrefetchID is the ID of the Nomad job that fetches a revision's images. No revision has
// such an ID.
func PrefetchID(revision string) string { return revision + "-prefetch" }

// ReasonID identifies the reason why a revision can't serve to callers that may not read
// it. The events show the reason with the same ID, whichever agent answered the caller.
func ReasonID(revision, reason string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(revision + "\x00" + reason)) // It does not fail.
	return fmt.Sprintf("%08x", h.Sum32())
}

// Proof is the secret by which an activator identifies itself to the instances of a
// revision outside the mesh. Agents read it in Consul; the instances know its digest
// alone. Printing it does not show it.
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

// Digest is the SHA-256 sum by which instances check the secret, in hexadecimal digits.
func (p Proof) Digest() string {
	sum := sha256.Sum256([]byte(p))
	return hex.EncodeToString(sum[:])
}
