package server

// Routes returns the patterns of the API with the parameters that each reads.
func (s *Server) Routes() map[string][]string {
	out := map[string][]string{}
	for _, rt := range s.table() {
		out[rt.pattern] = rt.query
	}
	return out
}

// MaxCallers is maxCallers.
const MaxCallers = maxCallers

// Callers is how many buckets of callers there are.
func (s *Server) Callers() int {
	s.callers.mu.Lock()
	defer s.callers.mu.Unlock()
	return max(s.callers.order.Len(), len(s.callers.buckets))
}
