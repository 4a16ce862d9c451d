package registry

import (
	"context"
	"net/netip"

	"github.com/wadi-run/wadi/internal/imageref"
)

// CheckAddress judges an address as when it is dialled.
func CheckAddress(s Settings, host string, a netip.Addr, own bool) error {
	return (&loaded{Settings: s}).checkAddress(host, a, own)
}

// Challenge is a challenge that was read.
type Challenge struct {
	Scheme string
	Params map[string]string
}

// Challenges reads headers.
func Challenges(headers []string) (out []Challenge) {
	for _, c := range challenges(headers) {
		out = append(out, Challenge{c.scheme, c.params})
	}
	return out
}

// UserFor is the user, or the token, as whom an image's registry is asked.
func UserFor(ctx context.Context, s Settings, image string) (string, error) {
	ref, err := imageref.Parse(image)
	if err != nil {
		return "", err
	}
	as, err := (&loaded{Settings: s}).login(ctx, ref, Credentials{})
	return as.username + as.identityToken, err
}

// IsOwn reports whether an address is that of the registry of an image.
func IsOwn(image, hostport string, plain bool) bool {
	ref, err := imageref.Parse(image)
	s := newSession(&loaded{}, ref, login{})
	s.plain = plain
	return err == nil && s.isOwn(hostport)
}

// Flights are the questions that are under way or wait.
func (r *Resolver) Flights() (n int) {
	r.flights.mu.Lock()
	defer r.flights.mu.Unlock()
	for _, l := range r.flights.lanes {
		if l.now != nil {
			n += l.now.waits
		}
		if l.next != nil {
			n += l.next.waits
		}
	}
	return n
}

// Hosts are the registries that slots are kept for.
func (r *Resolver) Hosts() int {
	r.slots.mu.Lock()
	defer r.slots.mu.Unlock()
	return len(r.slots.hosts)
}

// Keep keeps a config as if it had been read.
func (r *Resolver) Keep(digest string, c Config) { r.configs.put(digest, c) }

// Configs are the configs that are kept.
func (r *Resolver) Configs() int {
	r.configs.mu.Lock()
	defer r.configs.mu.Unlock()
	return len(r.configs.found)
}
