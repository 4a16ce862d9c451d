// Package scrape reads the statistics of instances and activators and feeds them to the
// scheduler's windows of the revisions that they are about.
//
// It promises that an idle source costs one open request, that a busy source is read every
// second, and that statistics which could not be read are reported as unknown, never as
// zero. If more than a hundred instances of a revision are busy, about a hundred per
// second are read in turn, and each reports everything since its last turn. The scraper's
// clock is monotonic: a step of the machine's clock does no harm. It refuses to judge: the
// reader of the windows decides what the numbers mean.
package scrape

import (
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/backlog"
	"github.com/wadi-run/wadi/scheduler"
)

// Revision is a revision whose load is measured.
type Revision struct {
	ID      string
	Created time.Time     // Earlier seconds do not count.
	Window  time.Duration // The longest that its load is averaged over.
}

// Source is something that serves statistics.
type Source struct {
	ID       string // Allocation ID, or the agent's name.
	Kind     wadi.SourceKind
	Addr     string    // host:port of its metrics listener.
	Revision string    // Of an instance.
	Placed   time.Time // Of an instance: when it was created.
	Starting bool      // Of an instance: it can't have load before it has answered, however long that takes.
	Stopping bool      // It takes no new requests, or is believed to have ended: it has when it stops answering.
	Seen     time.Time // Since when the source is known, perhaps as another process; zero: since its process began.
}

// Scraper follows sources. Its exported fields may be set before the first Set.
type Scraper struct {
	// Wait is how long a source may leave a poll unanswered; 30 s by default.
	Wait time.Duration
	// PerSecond is how many busy instances of a revision are read every second; 100 by
	// default. If more are busy, they take turns.
	PerSecond int
	// Dial connects to a source; TCP by default.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Windows makes the windows of a revision that begins to be measured;
	// scheduler.NewWindows by default.
	Windows func(born time.Time, keep time.Duration) *scheduler.Windows
	// Backlog gets the revisions for which an activator has more requests than a second
	// ago; by default a set that has no reader.
	Backlog *backlog.Set
	// Outcomes gets what sources report about the requests that were answered; nil: it is not
	// read.
	Outcomes Outcomes

	log     hclog.Logger
	metrics metrics
	client  *http.Client
	start   time.Time
	slots   chan struct{} // One for each short request under way.
	added   chan struct{} // Signals unstarted followers.

	// mu guards the following fields, the windows, and the marked fields of followers.
	mu        sync.Mutex
	revisions map[string]*revision
	followers map[string]*follower
	created   int               // Number of followers so far.
	groups    map[string]*group // Followers by revision; those of activators, which are about all revisions, by "".
	unstarted []*follower
	changed   chan struct{}   // Closed when the readiness of an instance changes.
	news      map[string]bool // Services of the instances whose readiness has changed, until they are taken.
}

// Outcomes is where outcomes are kept. Its methods are called under the scraper's lock, and must
// not call the scraper.
type Outcomes interface {
	// Report takes the answer of a source at a time: of an instance of a revision, or of an
	// activator, whose revision is "".
	Report(source, revision string, stats []wadi.Stats, at time.Time)
	// Gone notes that a source is not followed any more.
	Gone(source string, at time.Time)
}

type revision struct {
	Revision
	windows   *scheduler.Windows
	instances *group

	busy    int // Instances that had load when they were counted.
	counted time.Time
}

// maxShort bounds the short requests in flight: probes for readiness, and reads that don't
// wait.
const maxShort = 256

// New returns a scraper without sources. It counts its requests in reg, which may be nil.
func New(log hclog.Logger, reg prometheus.Registerer) *Scraper {
	s := &Scraper{
		Wait:      30 * time.Second,
		PerSecond: 100,
		Windows:   scheduler.NewWindows,
		Backlog:   backlog.New(),
		log:       log,
		metrics:   newMetrics(reg),
		start:     time.Now(),
		slots:     make(chan struct{}, maxShort),
		added:     make(chan struct{}, 1),
		revisions: map[string]*revision{},
		followers: map[string]*follower{},
		groups:    map[string]*group{},
		changed:   make(chan struct{}),
		news:      map[string]bool{},
	}
	s.client = &http.Client{
		Transport: &http.Transport{
			DialContext:            s.dial,
			DisableCompression:     true,
			MaxIdleConnsPerHost:    1,
			MaxConnsPerHost:        4,
			IdleConnTimeout:        10 * time.Second,
			MaxResponseHeaderBytes: 16 << 10,
			ReadBufferSize:         1 << 10, // There may be tens of thousands of connections, each with
			WriteBufferSize:        1 << 10, // a small answer at most once a second.
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s
}

func (s *Scraper) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if s.Dial != nil {
		return s.Dial(ctx, network, addr)
	}
	d := net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second}
	return d.DialContext(ctx, network, addr)
}

// Run follows the sources until ctx ends.
func (s *Scraper) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer s.client.CloseIdleConnections()
	defer wg.Wait()
	for {
		for _, f := range s.takeUnstarted() {
			if fctx, ok := s.begin(ctx, f); ok {
				wg.Go(func() { s.follow(fctx, f) })
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.added:
		}
	}
}

func (s *Scraper) takeUnstarted() []*follower {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := s.unstarted
	s.unstarted = nil
	return fresh
}

// begin gives a follower a context that ends with its source.
func (s *Scraper) begin(ctx context.Context, f *follower) (context.Context, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.removed {
		return nil, false
	}
	ctx, f.stop = context.WithCancel(ctx)
	return ctx, true
}

// now is the time by the scraper's monotonic clock.
func (s *Scraper) now() time.Time { return s.start.Add(time.Since(s.start)) }

// Reading is the state of a revision at one time. It is valid only during the call of
// Read.
type Reading struct {
	Windows *scheduler.Windows
	Now     time.Time // To average the windows at.

	Ready      int  // See ReadyCount.
	ReadyKnown bool // Every instance was asked at least once, even if it did not answer.
}

// Read calls f with the state of a revision, under the scraper's lock. It reports whether
// the revision is measured.
func (s *Scraper) Read(id string, f func(Reading)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.revisions[id]
	if r == nil {
		return false
	}
	ready, known := r.instances.ready()
	f(Reading{Windows: r.windows, Now: s.now(), Ready: ready, ReadyKnown: known})
	return true
}

// ReadyCount is how many instances of a revision are ready, without those that stop. It is
// not known if the revision is not measured, or one of its instances was never asked.
func (s *Scraper) ReadyCount(id string) (ready int, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.groups[id]; g != nil {
		return g.ready()
	}
	return 0, false
}

// Ready reports whether the instance was ready when it answered last.
func (s *Scraper) Ready(instance string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.followers[instance]
	return f != nil && f.ready
}

// Silent names a source of a revision that should answer and does not: one of its instances, or
// an activator. It is empty if there is none. A source that stops may have ended.
func (s *Scraper) Silent(revision string) (source string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eachFollower(revision, func(f *follower) {
		if f.up && !f.down && !f.src.Stopping && !f.silentSince.IsZero() {
			source = f.src.ID
		}
	})
	return source
}

// Changed returns a channel that is closed at the next change of an instance's readiness.
func (s *Scraper) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// TakeChanged returns the services of the instances whose readiness has changed since it was
// called last. all is false: they are always known.
func (s *Scraper) TakeChanged() (services []string, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	services = slices.Collect(maps.Keys(s.news))
	clear(s.news)
	return services, false
}

// signal wakes the reader of a channel of capacity one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
