package admissiontest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/agent/admission/images"
)

// Registries are a fake of all registries. The zero value has no image.
type Registries struct {
	mu    sync.Mutex
	tags  map[string]string
	has   map[string]images.Config // By digest.
	read  int
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

// Configure gives a content a config. Without one, questions about its config fail.
func (r *Registries) Configure(content string, c images.Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.has == nil {
		r.has = map[string]images.Config{}
	}
	r.has[Digest(content)] = c
}

// Read is how often a config was asked for since the last call.
func (r *Registries) Read() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.read
	r.read = 0
	return n
}

// Config implements admission.Registries.
func (r *Registries) Config(_ context.Context, image, digest string) (images.Config, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read++
	c, ok := r.has[digest]
	if !ok {
		return images.Config{}, fmt.Errorf("config of %s: %w", image, wadi.ErrNotFound)
	}
	return c, nil
}
