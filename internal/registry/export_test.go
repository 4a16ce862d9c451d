package registry

import "net/netip"

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
