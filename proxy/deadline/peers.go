package deadline

// WhenPeersDone calls f when no peer is at work on the request any more: at once, or when
// all that were broken off in the midst of it have closed their connection. It is to
// be called once, after the forwarding.
func (t *Tracker) WhenPeersDone(f func()) {
	t.mu.Lock()
	if t.behind > 0 {
		t.whenLeft = f
		t.mu.Unlock()
		return
	}
	t.mu.Unlock()
	f()
}

// Later has [Timed.End] call wait, which concerns the caller alone: by then the handler
// has given back what it held for the app.
func (t *Tracker) Later(wait func()) { t.later = wait }

// PeerBusy notes that a peer still works on the request, though that was broken off.
func (t *Tracker) PeerBusy() {
	t.mu.Lock()
	t.behind++
	t.mu.Unlock()
}

// PeerDone notes that one of those peers is done.
func (t *Tracker) PeerDone() {
	t.mu.Lock()
	t.behind--
	var f func()
	if t.behind == 0 {
		f, t.whenLeft = t.whenLeft, nil
	}
	t.mu.Unlock()
	if f != nil {
		f()
	}
}
