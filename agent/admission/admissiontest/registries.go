package admissiontest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
)

// Registries are a fake of all registries. The zero value has no image.
type Registries struct {
	mu    sync.Mutex
	tags  map[string]string
	errs  map[string]error
	asked map[string]int
	began chan string
}

var _ admission.Registries = (*Registries)(nil)

// Digest is a digest that stands for a content.
func Digest(content string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(content))) }

// Push gives a name, in its long form, to a content.
func (r *Registries) Push(name, content string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tags == nil {
		r.tags = map[string]string{}
	}
	r.tags[name] = Digest(content)
}

// Fail has questions about an image fail with err until it is nil again; "" is all images.
func (r *Registries) Fail(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.errs == nil {
		r.errs = map[string]error{}
	}
	r.errs[name] = err
}

// Hang has all questions wait for the end of their time. The channel gets each one's name.
func (r *Registries) Hang() <-chan string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began = make(chan string, 100)
	return r.began
}

// Asked is how often each image was asked about since the last call.
func (r *Registries) Asked() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.asked
	r.asked = nil
	return out
}

// Resolve implements admission.Registries.
func (r *Registries) Resolve(ctx context.Context, name string) (string, error) {
	r.mu.Lock()
	if r.asked == nil {
		r.asked = map[string]int{}
	}
	r.asked[name]++
	digest, ok := r.tags[name]
	began := r.began
	err := errors.Join(r.errs[name], r.errs[""])
	r.mu.Unlock()
	switch {
	case began != nil:
		began <- name
		<-ctx.Done()
		return "", ctx.Err()
	case err != nil:
		return "", err
	case !ok:
		return "", fmt.Errorf("image %q: no such image; push it: %w", name, wadi.ErrNotFound)
	}
	return digest, nil
}
