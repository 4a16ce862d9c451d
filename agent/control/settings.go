package control

import (
	"sync/atomic"

	"github.com/wadi-run/wadi/scheduler"
)

// Settings are what may change while a leader leads.
type Settings struct {
	Retention scheduler.Retention // How long revisions that are not routed are kept.
	Ceiling   int                 // The agent's bound of instances of one revision; 0: none.
}

// Live holds the settings that are in force. It outlives a term. Each pass and each
// evaluation reads it anew.
type Live struct{ of atomic.Pointer[Settings] }

// NewLive returns a Live with s in force.
func NewLive(s Settings) *Live {
	l := &Live{}
	l.Set(s)
	return l
}

// Set puts settings in force.
func (l *Live) Set(s Settings) { l.of.Store(&s) }

// Now returns the settings in force.
func (l *Live) Now() Settings {
	if l == nil {
		return Settings{}
	}
	return *l.of.Load()
}
