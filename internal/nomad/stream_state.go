package nomad

import "time"

// links is which streams are up, as readers get it. It never changes.
type links struct {
	all    link
	single map[string]link // By namespace.
	unread []string
}

// link is one stream.
type link struct {
	isUp  bool
	broke time.Time       // When it was last over; zero: never.
	of    map[string]bool // The namespaces that it tells, or told, of.
}

// covers tells whether the stream is up and tells of a namespace.
func (l link) covers(namespace string) bool { return l.isUp && l.of[namespace] }

// usable tells whether what the stream said of a namespace is good enough.
func (l link) usable(namespace string, now time.Time, grace time.Duration) bool {
	return l.of[namespace] && (l.isUp || !l.broke.IsZero() && now.Sub(l.broke) < grace)
}

func (l *links) up(namespace string) bool {
	return l.all.covers(namespace) || l.single[namespace].covers(namespace)
}

func (l *links) usable(namespace string, now time.Time, grace time.Duration) bool {
	return l.all.usable(namespace, now, grace) || l.single[namespace].usable(namespace, now, grace)
}

func (l *links) some() bool {
	if l.all.isUp {
		return true
	}
	for _, s := range l.single {
		if s.isUp {
			return true
		}
	}
	return false
}
