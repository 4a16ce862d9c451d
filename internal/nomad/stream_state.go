package nomad

import "time"

// streamStates is which streams are up, as readers get it. It never changes.
type streamStates struct {
	all       streamState
	single    map[string]streamState // By namespace.
	unwatched []string
}

// streamState is one stream.
type streamState struct {
	isUp       bool
	brokeAt    time.Time       // When it was last over; zero: never.
	namespaces map[string]bool // The namespaces that it tells, or told, of.
}

// covers tells whether the stream is up and tells of a namespace.
func (l streamState) covers(namespace string) bool { return l.isUp && l.namespaces[namespace] }

// usable tells whether what the stream said of a namespace is good enough.
func (l streamState) usable(namespace string, now time.Time, grace time.Duration) bool {
	return l.namespaces[namespace] && (l.isUp || !l.brokeAt.IsZero() && now.Sub(l.brokeAt) < grace)
}

func (l *streamStates) up(namespace string) bool {
	return l.all.covers(namespace) || l.single[namespace].covers(namespace)
}

func (l *streamStates) usable(namespace string, now time.Time, grace time.Duration) bool {
	return l.all.usable(namespace, now, grace) || l.single[namespace].usable(namespace, now, grace)
}

func (l *streamStates) anyUp() bool {
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
