package control

// Nodes are the nodes of Nomad's clients.
type Nodes interface {
	// Draining are the nodes that are drained, by ID.
	Draining() map[string]bool
}

// migrating is how many instances are on nodes that are drained, or are being moved by
// Nomad, and whether one instance more would find no place.
func (a *Autoscaler) migrating(r *record, s *subject) (n int, inVain bool) {
	var draining map[string]bool
	if a.Nodes != nil {
		draining = a.Nodes.Draining()
	}
	eps, _ := a.Cluster.Endpoints(s.namespace, s.id)
	for _, ep := range eps {
		if !ep.Ended && (ep.Moving || !ep.Stopping && draining[ep.Node]) {
			n++
		}
	}
	diagnosis := ""
	if n > 0 {
		diagnosis = a.Cluster.Diagnosis(s.namespace, s.id).Reason
	}
	r.migration = r.migration.Next(n, diagnosis)
	return n, r.migration.NoPlace
}
