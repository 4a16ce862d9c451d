package nomad

import "time"

// streamStates is the state of all streams for readers. It never changes.
type streamStates struct {
	all       streamState
	single    map[string]streamState // By namespace.
	unwatched []string
}

// streamState is the state of one stream.
type streamState struct {
	isUp       bool
	brokeAt    time.Time       // When it last broke; zero: never.
	namespaces map[string]bool // The namespaces that it covers, or covered before it broke.
}

// covers reports whether the stream is up and covers a namespace.
func (l streamState) covers(namespace string) bool { return l.isUp && l.namespaces[namespace] }

// usable reports whether the stream's data about a namespace is recent enough to act on.
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
