package server

// Routes returns the patterns of the API with the parameters that each reads.
func (s *Server) Routes() map[string][]string {
	out := map[string][]string{}
	for _, rt := range s.table() {
		out[rt.pattern] = rt.query
	}
	return out
}
