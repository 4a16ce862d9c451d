package assets

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	keepEvery   = 30 * time.Second // Between two looks at what revisions name.
	readTimeout = 10 * time.Second // Of one look.
	sureTimeout = 2 * time.Minute  // Of a look at all revisions.
	readAgain   = time.Second      // Requests for unknown programs cause no more than one look in this time.
	peerTimeout = time.Minute      // Of one program of another agent.
	askAgain    = 2 * time.Second  // Others are asked for the same program no sooner.
)

// Keeper keeps a store in step with what stored revisions name: what is missing comes from
// other agents, what no revision names any more goes. Set all fields before Run.
type Keeper struct {
	Store *Store
	// Named returns the programs that stored revisions name, by checksum, with the number of
	// revisions: all of them, or an error.
	Named func(context.Context) (map[string]int, error)
	// Confirm returns the same from the revisions themselves, slowly. It is asked before a
	// copy is removed. Nil: Named is enough.
	Confirm func(context.Context) (map[string]int, error)
	// Peers are the other agents' listeners, host:port.
	Peers func() []string
	Log   hclog.Logger

	Client *http.Client // Nil: one of its own.

	once     sync.Once
	fetching chan struct{} // Holds one: one program at a time.
	reading  chan struct{} // Holds one: others wait for its answer.

	mu      sync.Mutex
	failed  map[string]time.Time // When a program was nowhere, by checksum.
	poor    map[string]time.Time // When an agent last gave nothing, by its listener.
	readAt  time.Time            // When the last look ended.
	readErr error                // Its error.
	named   map[string]int
	lacking map[string]int // Of named: what was nowhere at the last look.
	problem error          // Of the last look.
}

// Run keeps until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		if err := k.Pass(ctx); err != nil && ctx.Err() == nil {
			k.Log.Warn("programs for Nomad's clients are not in step with the revisions", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Pass does one pass. What it could not do is told by State too.
func (k *Keeper) Pass(ctx context.Context) error {
	refresh := k.Store.Refresh()
	named, err := k.read(ctx, 0)
	if err == nil {
		k.complete(ctx, named)
		err = k.Store.Keep(keys(named), k.confirm(ctx), time.Now())
	}
	err = errors.Join(refresh, err)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.problem = err
	return err
}

// confirm is Confirm as the store asks it.
func (k *Keeper) confirm(ctx context.Context) func() (map[string]bool, error) {
	if k.Confirm == nil {
		return nil
	}
	return func() (map[string]bool, error) {
		ctx, cancel := context.WithTimeout(ctx, sureTimeout)
		defer cancel()
		named, err := k.Confirm(ctx)
		return keys(named), err
	}
}

// complete gets what is named and not there.
func (k *Keeper) complete(ctx context.Context, named map[string]int) {
	lacking := map[string]int{}
	for _, sum := range slices.Sorted(maps.Keys(named)) {
		if !Sum(sum) || k.Store.Has(sum) { // A text that is none is nothing that anybody has, and no path to ask others for.
			continue
		}
		if err := k.fetch(ctx, sum); err != nil {
			lacking[sum] = named[sum]
			k.Log.Debug("a program that revisions name is not there", "sum", sum, "error", err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lacking = lacking
}

// State is what revisions name and no agent has, with the number of revisions, and what went
// wrong at the last look.
func (k *Keeper) State() (lacking map[string]int, problem error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	lacking = map[string]int{}
	for sum, n := range k.lacking {
		if !k.Store.Has(sum) {
			lacking[sum] = n
		}
	}
	return lacking, k.problem
}

// read returns what revisions name, no older than age. Its error is that of the last look,
// never an answer.
func (k *Keeper) read(ctx context.Context, age time.Duration) (map[string]int, error) {
	k.once.Do(k.init)
	leave, err := enter(ctx, k.reading)
	if err != nil {
		return nil, err
	}
	defer leave()
	k.mu.Lock()
	if age > 0 && time.Since(k.readAt) < age {
		defer k.mu.Unlock()
		return k.named, k.readErr
	}
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	named, err := k.Named(ctx)
	if err != nil {
		err = fmt.Errorf("read what revisions name: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.readAt, k.readErr = time.Now(), err
	if err == nil {
		k.named = named
	}
	return named, err
}

func (k *Keeper) init() { k.fetching, k.reading = make(chan struct{}, 1), make(chan struct{}, 1) }

// enter waits until a channel of one is free.
func enter(ctx context.Context, one chan struct{}) (leave func(), err error) {
	select {
	case one <- struct{}{}:
		return func() { <-one }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var errNotNamed = errors.New("no stored revision names it")

// Fetch gets a program from another agent, if a stored revision names it.
func (k *Keeper) Fetch(ctx context.Context, sum string) error {
	k.mu.Lock()
	known := k.named[sum] > 0
	k.mu.Unlock()
	if !known {
		named, err := k.read(ctx, readAgain)
		if err != nil {
			return err
		}
		if named[sum] == 0 {
			return errNotNamed
		}
	}
	return k.fetch(ctx, sum)
}

var errNowhere = errors.New("no other agent has it")

// fetch asks one agent after the other.
func (k *Keeper) fetch(ctx context.Context, sum string) error {
	k.once.Do(k.init)
	leave, err := enter(ctx, k.fetching)
	if err != nil {
		return err
	}
	defer leave()
	if k.Store.Has(sum) { // Since this one waited.
		return nil
	}
	// A copy that was found to be corrupt may be of this release's own.
	if err := k.Store.Refresh(); err != nil {
		k.Log.Debug("a program of this release can't be taken in", "error", err)
	}
	if k.Store.Has(sum) {
		return nil
	}
	if k.lately(sum) {
		return errNowhere
	}
	errs := []error{errNowhere}
	for _, peer := range k.peers() {
		err := k.from(ctx, peer, sum)
		k.judge(peer, err)
		if err == nil {
			k.Log.Info("got a program that a revision names from another agent", "sum", sum, "agent", peer)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		errs = append(errs, fmt.Errorf("%s: %w", peer, err))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failed == nil || len(k.failed) > 1000 {
		k.failed = map[string]time.Time{}
	}
	k.failed[sum] = time.Now()
	return errors.Join(errs...)
}

// peers are the other agents, last those that gave nothing a moment ago: one that answers a
// byte a second must not be the first to be asked each time.
func (k *Keeper) peers() []string {
	all := slices.Compact(slices.Sorted(slices.Values(k.Peers())))
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.poor, func(peer string, _ time.Time) bool { return !slices.Contains(all, peer) })
	slices.SortStableFunc(all, func(a, b string) int { return k.poor[a].Compare(k.poor[b]) })
	return all
}

func (k *Keeper) judge(peer string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.poor == nil {
		k.poor = map[string]time.Time{}
	}
	k.poor[peer] = time.Now()
	if err == nil {
		delete(k.poor, peer)
	}
}

// lately reports whether a program was nowhere a moment ago.
func (k *Keeper) lately(sum string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	at, failed := k.failed[sum]
	return failed && time.Since(at) < askAgain
}

// from gets a program from one agent. Its answer is believed by its checksum alone.
func (k *Keeper) from(ctx context.Context, peer, sum string) error {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(peer)
	if err != nil || host == "" || port == "" || strings.ContainsAny(peer, "/?#@\\") { // Whoever may register an agent writes it.
		return fmt.Errorf("%.100q is no address", peer)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+peer+Path+"/"+sum, nil)
	if err != nil {
		return err
	}
	r.Header.Set(HeaderPeer, "1")
	r.Header.Set("Accept-Encoding", "identity")
	res, err := k.client().Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %d", res.StatusCode)
	}
	return k.Store.Add(sum, res.Body)
}

func (k *Keeper) client() *http.Client {
	if k.Client != nil {
		return k.Client
	}
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: readTimeout, MaxResponseHeaderBytes: 16 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func keys(m map[string]int) map[string]bool {
	out := make(map[string]bool, len(m))
	for k := range m {
		out[k] = true
	}
	return out
}
