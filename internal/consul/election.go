package consul

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

const (
	// lockDelay is how long the lock stays unavailable after its holder died, so that the
	// holder's last calls have ended.
	lockDelay = time.Second
	// lockRetry is the pause between two attempts at a free lock: Consul does not report
	// the end of the delay.
	lockRetry = 100 * time.Millisecond
	// releaseTimeout bounds the release of the lock when ctx has ended.
	releaseTimeout = 2 * time.Second
)

// Elect contends for the lock at key until ctx ends, and calls lead whenever it has the
// lock, one call at a time. It returns nil when ctx has ended and the lock is released.
//
// The context of lead ends as soon as the lock is lost or can't be confirmed: another
// session has it, p's check could not be passed for its TTL, or Consul's servers did not
// answer for as long. Elect waits for lead to return, releases the lock and contends
// again. value shows the other contenders which one leads.
//
// A process that was paused learns only some time after it goes on that its lock is lost.
// Calls that must not be made then are made with lead's [Term].
//
// p must run longer than Elect: the lock depends on its check.
func (p *Presence) Elect(ctx context.Context, key, value string, lead func(ctx context.Context, t *Term) error) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = watchPauseMin, watchPauseMax
	var old inherited
	for ctx.Err() == nil {
		led, err := p.term(ctx, key, value, lead, &old)
		if led {
			pause.Reset()
		}
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			p.Log.Warn("contending for leadership again", "key", key, "error", err)
		}
		_ = wadi.Sleep(ctx, pause.NextBackOff())
	}
	return nil
}

// term is one session, from contending to the loss of the lock. led reports whether it got
// the lock.
func (p *Presence) term(ctx context.Context, key, value string, lead func(context.Context, *Term) error, old *inherited) (led bool, err error) {
	for time.Now().After(p.AliveUntil()) { // A session needs a passing check.
		if _ = wadi.Sleep(ctx, lockRetry); ctx.Err() != nil {
			return false, nil
		}
	}
	id, err := p.createSession(ctx)
	if err != nil {
		return false, err
	}
	defer func() {
		if !p.endSession(ctx, key, id) {
			old.unended = id
		}
	}()
	acquired, err := p.acquire(ctx, key, value, id, old)
	if err != nil {
		return false, err
	}
	p.Log.Info("leading", "key", key)
	defer p.Log.Info("no longer leading", "key", key)

	leading, cancel := context.WithCancelCause(ctx)
	t := newTerm(p, Lock{Key: key, Session: id}, acquired, cancel)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		cancel(t.watchLock(leading))
	}()
	err = lead(leading, t)
	lost := context.Cause(leading)
	cancel(nil)
	<-watched
	if errors.Is(lost, wadi.ErrNotLeading) {
		return true, lost
	}
	return true, err
}

// createSession makes a session that ends when p's check or its node fails.
func (p *Presence) createSession(ctx context.Context) (string, error) {
	id, _, err := p.Client.api().Session().Create(&api.SessionEntry{
		Name:          p.Service.ID,
		NodeChecks:    []string{"serfHealth"},
		ServiceChecks: []api.ServiceCheck{{ID: p.CheckID()}},
		LockDelay:     lockDelay,
		Behavior:      api.SessionBehaviorRelease,
	}, (&api.WriteOptions{}).WithContext(ctx))
	return id, Wrap("create session", err)
}

// endSession releases the lock before it destroys the session, because a lock that ends
// with its session is delayed. It reports whether it succeeded.
func (p *Presence) endSession(ctx context.Context, key, id string) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	w := (&api.WriteOptions{}).WithContext(ctx)
	_, _, err := p.Client.api().KV().Release(&api.KVPair{Key: key, Session: id}, w)
	if err == nil {
		_, err = p.Client.api().Session().Destroy(id, w)
	}
	if err != nil {
		p.Log.Warn("ending the session failed", "error", Wrap("release "+key, err))
	}
	return err == nil
}

// inherited is the memory of sessions that depend on p's check and are not the present
// one: p passes their check, so they would keep the lock for ever.
type inherited struct {
	checked bool   // Whether an earlier run of this agent left a session, which the first check shows.
	unended string // A session of this run that could not be ended.
	index   uint64 // The lock's last index.
}

// noteIndex stores the lock's index. It goes back only if Consul was restored with its
// sessions: then an earlier run may have the lock again.
func (old *inherited) noteIndex(index uint64) {
	if index < old.index {
		old.checked = false
	}
	old.index = index
}

// errNoSession says that the contending session does not exist, as in a restored Consul: a
// new one is needed.
var errNoSession = errors.New("consul has lost the session")

// endInherited destroys the session that has the lock if it is inherited. A session that
// appears later belongs to a living agent that has the same name by mistake: the two would
// take the lock from each other without end.
func (p *Presence) endInherited(ctx context.Context, holder, id string, old *inherited) (done bool, err error) {
	if old.checked && holder != old.unended {
		return false, nil
	}
	q := (&api.QueryOptions{}).WithContext(ctx)
	holderSession, _, err := p.Client.api().Session().Info(holder, q)
	if err != nil {
		return false, Wrap("read session", err)
	}
	ownSession, _, err := p.Client.api().Session().Info(id, q)
	if err != nil {
		return false, Wrap("read session", err)
	}
	if ownSession == nil {
		return false, errNoSession
	}
	if holderSession != nil && holderSession.Name == ownSession.Name && holderSession.Node == ownSession.Node {
		if _, err := p.Client.api().Session().Destroy(holder, (&api.WriteOptions{}).WithContext(ctx)); err != nil {
			return false, Wrap("destroy the session of an earlier run", err)
		}
		p.Log.Info("ended the session of an earlier run", "session", holder)
		done = true
	}
	old.checked, old.unended = true, ""
	return done, nil
}

// acquire returns when it has the lock, with the time at which it asked for it.
func (p *Presence) acquire(ctx context.Context, key, value, id string, old *inherited) (sent time.Time, err error) {
	var index uint64
	for {
		cur, next, err := p.Client.WaitGet(ctx, key, index, watchWait, false)
		if err != nil && !isNotFound(err) {
			return sent, err
		}
		if err == nil && cur.Index < old.index && index != 0 {
			index = 0 // Only a consistent read is trusted to have gone back.
			continue
		}
		if err == nil {
			old.noteIndex(cur.Index)
		}
		if cur.Session != "" && cur.Session != id {
			if done, err := p.endInherited(ctx, cur.Session, id, old); err != nil {
				return sent, err
			} else if done {
				index = 0
				continue
			}
			if next < index { // The server was restored; start over.
				next = 0
			}
			index = next
			continue
		}
		old.checked = true
		w := (&api.WriteOptions{}).WithContext(ctx)
		sent = time.Now()
		ok, _, err := p.Client.api().KV().Acquire(&api.KVPair{Key: key, Value: []byte(value), Session: id}, w)
		if err != nil {
			return sent, Wrap("acquire "+key, err)
		}
		if ok {
			return sent, nil
		}
		index = 0
		if _ = wadi.Sleep(ctx, lockRetry); ctx.Err() != nil {
			return sent, ctx.Err()
		}
	}
}

// WatchLeader emits the value of the lock's holder, now and after every change, until ctx
// ends; empty while there is no leader. report gets every failure.
func (c *Client) WatchLeader(ctx context.Context, key string, emit func(value string), report func(error)) error {
	w := Watch[string]{Report: report}
	w.Fetch = func(ctx context.Context, index uint64) (string, uint64, error) {
		cur, next, err := c.WaitGet(ctx, key, index, watchWait, false)
		if err != nil && !errors.Is(err, wadi.ErrNotFound) {
			return "", 0, err
		}
		if cur.Session == "" {
			return "", next, nil
		}
		return string(cur.Value), next, nil
	}
	return w.Run(ctx, emit)
}
