package control

import (
	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// Cluster is what Nomad's event streams say of revisions. A revision's job is always
// looked up in its service's namespace: in another one a foreign job may have the same ID.
type Cluster interface {
	Job(namespace, revision string) scheduler.JobState
	// Endpoints are the revision's instances, until the channel is closed.
	Endpoints(namespace, revision string) ([]wadi.Endpoint, <-chan struct{})
	// Diagnosis is why Nomad can't run the revision's instances.
	Diagnosis(namespace, revision string) wadi.Diagnosis
}

// UsableCluster is a [Cluster] that the leader's loops act on.
type UsableCluster interface {
	Cluster
	// Usable reports whether what is known of a namespace may be acted on. It stays true
	// for a short time after the stream broke, so that nothing stops while it is read anew.
	Usable(namespace string) bool
}

// Notifier has news for a loop.
type Notifier interface {
	// Changed returns a channel that is closed at the next change of anything.
	Changed() <-chan struct{}
}

// ServiceNews is a [Notifier] that knows which services its news are about: of thousands of
// services, few change at a time.
type ServiceNews interface {
	Notifier
	// TakeChanged returns the services whose state may have changed since it was called last;
	// all: any may be among them.
	TakeChanged() (services []string, all bool)
}

// alive counts the instances of a revision that are placed and not stopping. The number
// is valid until changed is closed.
func alive(c Cluster, namespace, revision string) (n int, changed <-chan struct{}) {
	eps, changed := c.Endpoints(namespace, revision)
	for _, ep := range eps {
		if !ep.Stopping {
			n++
		}
	}
	return n, changed
}
