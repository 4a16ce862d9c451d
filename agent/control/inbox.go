package control

import "sync"

// inbox is what other goroutines leave for the controller's next pass.
type inbox struct {
	poke  chan struct{} // Asks for a pass now.
	nudge chan struct{} // Signals that there are touched services.

	mu      sync.Mutex
	dirty   map[string]bool // Services to be read from the store.
	touched map[string]bool // Services to be reconciled even at rest.
}

func (i *inbox) init() {
	i.poke, i.nudge = make(chan struct{}, 1), make(chan struct{}, 1)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.dirty, i.touched = map[string]bool{}, map[string]bool{}
}

// submitted notes services that were submitted or deleted, and asks for a pass.
func (i *inbox) submitted(names []string) {
	i.later(names...)
	i.pokeNow()
}

// later has services read in a later pass, all in the same, which it does not ask for.
func (i *inbox) later(names ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, n := range names {
		i.dirty[n] = true
	}
}

// touch has a service reconciled, which may be at rest.
func (i *inbox) touch(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.touched[name] = true
	signal(i.nudge)
}

// noteTouched is touch for the pass that is about to be made.
func (i *inbox) noteTouched(names []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, n := range names {
		i.touched[n] = true
	}
}

func (i *inbox) pokeNow() { signal(i.poke) }

// take empties the inbox.
func (i *inbox) take() (dirty, touched map[string]bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	dirty, touched = i.dirty, i.touched
	i.dirty, i.touched = map[string]bool{}, map[string]bool{}
	return dirty, touched
}

// signal makes a channel of one element ready, if it is not.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
