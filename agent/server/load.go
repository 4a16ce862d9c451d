package server

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/wadi-run/wadi"
)

// load answers with the load of a service's last day. The leader also knows what is not
// stored yet.
func (s *Server) load(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if _, _, err := s.spec(r, name); err != nil {
		return err
	}
	h, err := s.Store.LoadHistory(r.Context(), name)
	if err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return fmt.Errorf("load of %s: %w", name, err)
	}
	if !h.Known() {
		return fmt.Errorf("load of %s: its lists do not fit together: %w", name, wadi.ErrUnreadable)
	}
	if s.AddLoad != nil {
		h = s.AddLoad(name, h)
	}
	return s.reply(w, http.StatusOK, h.OrEmpty())
}
