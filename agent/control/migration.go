package control

// migrating is how many instances sit on nodes that are drained, or are moved by Nomad and
// have not ended, and whether one more would be in vain.
func (a *Autoscaler) migrating(r *record, s *subject) (n int, inVain bool) {
	var draining map[string]bool
	if a.Draining != nil {
		draining = a.Draining()
	}
	eps, _ := a.Cluster.Endpoints(s.namespace, s.id)
	for _, ep := range eps {
		if !ep.Ended && (ep.Moving || !ep.Stopping && draining[ep.Node]) {
			n++
		}
	}
	diagnosis := ""
	if n > 0 {
		diagnosis, _ = a.Cluster.Diagnosis(s.namespace, s.id)
	}
	r.migration = r.migration.Next(n, diagnosis)
	return n, r.migration.NoPlace
}
