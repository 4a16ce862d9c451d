package deadline

// WhenPeersDone calls f when no peer works on the request any more: at once, or when all
// peers whose requests were broken off have closed their connection. It is called once,
// after the forwarding.
func (t *Tracker) WhenPeersDone(f func()) {
	t.mu.Lock()
	if t.busyPeers > 0 {
		t.peersDone = f
		t.mu.Unlock()
		return
	}
	t.mu.Unlock()
	f()
}

// Later makes [Tracker.End] call wait, which waits for the caller alone. By then the handler
// has given back what it held for the app.
func (t *Tracker) Later(wait func()) { t.later = wait }

// PeerBusy notes that a peer still works on the request, though that was broken off.
func (t *Tracker) PeerBusy() {
	t.mu.Lock()
	t.busyPeers++
	t.mu.Unlock()
}

// PeerDone notes that one of those peers is done.
func (t *Tracker) PeerDone() {
	t.mu.Lock()
	t.busyPeers--
	var f func()
	if t.busyPeers == 0 {
		f, t.peersDone = t.peersDone, nil
	}
	t.mu.Unlock()
	if f != nil {
		f()
	}
}
