package server

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// Bounds of blocking reads.
const (
	defaultBlock   = 5 * time.Minute
	maxBlock       = 10 * time.Minute
	blockJitter    = 16  // A read is at most this part of its wait late, so that many don't end at once.
	maxBlocked     = 512 // Reads that wait and streams of events, in all.
	maxBlockedEach = 128 // Of one client.
)

// blocking makes a read of one service, or of all, a blocking one, as Consul and Nomad have
// them: its answer has an index, and with ?index= it waits until the index is another. An
// index that the service never had, such as one from before Consul was restored, is answered
// at once.
func (s *Server) blocking(read handler) handler {
	read = s.inTurn(within(readTimeout, read))
	if s.Changes == nil {
		return read
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		service, index, wait, err := blockingQuery(r)
		if err != nil {
			return err
		}
		at, err := s.indexOf(r, service)
		if err != nil {
			return err
		}
		if index > 0 && index == at {
			if err := s.block(r, service, index, wait); err != nil {
				return err
			}
			if at, err = s.indexOf(r, service); err != nil {
				return err
			}
		}
		// It is older than what is read now: a change in between is answered twice, and never missed.
		w.Header().Set(api.HeaderIndex, strconv.FormatUint(at, 10))
		if err := read(w, r); err != nil {
			w.Header().Del(api.HeaderIndex)
			return err
		}
		return nil
	}
}

// blockingQuery is what a read is about, and for what it waits. An empty service is all.
func blockingQuery(r *http.Request) (service string, index uint64, wait time.Duration, err error) {
	if service = r.PathValue("name"); service == "" {
		service, _, _ = wadi.SplitRevisionID(r.PathValue("id"))
	}
	if index, err = indexParameter(r); err != nil {
		return "", 0, 0, err
	}
	wait, err = duration(r, "wait", maxBlock)
	if wait == 0 {
		wait = defaultBlock
	}
	return service, index, wait + rand.N(wait/blockJitter+1), err
}

// indexParameter is an index from the query; 0 without one.
func indexParameter(r *http.Request) (uint64, error) {
	q := r.URL.Query().Get("index")
	if q == "" {
		return 0, nil
	}
	index, err := strconv.ParseUint(q, 10, 64)
	if err != nil {
		return 0, badInput("index %.64q is not a number from 0 to 2^64-1", q)
	}
	return index, nil
}

// flag is a parameter that is true or false.
func flag(r *http.Request, name string, without bool) (bool, error) {
	switch q := r.URL.Query().Get(name); q {
	case "":
		return without, nil
	case "true", "false":
		return q == "true", nil
	default:
		return false, badInput("%s %.64q is neither true nor false", name, q)
	}
}

// indexOf is the index of what a read is about; 0 for a name or an ID that can't be one.
func (s *Server) indexOf(r *http.Request, service string) (index uint64, err error) {
	if service == "" && r.PathValue("id") != "" || service != "" && !namePattern.MatchString(service) {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	r = r.WithContext(ctx)
	err = s.inTurn(func(http.ResponseWriter, *http.Request) (err error) {
		index, err = s.Changes.Index(ctx, service)
		return err
	})(nil, r)
	return index, err
}

// block waits for a change, if the caller may read what it waits for.
func (s *Server) block(r *http.Request, service string, index uint64, wait time.Duration) error {
	if err := s.mayBlock(r, service); err != nil {
		return err
	}
	done, err := s.blocked.begin(r)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := untilStopped(r.Context())
	defer cancel()
	ctx, cancelWait := context.WithTimeout(ctx, wait)
	defer cancelWait()
	return s.Changes.Wait(ctx, service, index)
}

// mayBlock refuses a caller that may not read what it would wait for, or waits for what does
// not exist. The read itself asks again, afterwards.
func (s *Server) mayBlock(r *http.Request, service string) error {
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	r = r.WithContext(ctx)
	if service == "" {
		return s.known(ctx, r)
	}
	if id := r.PathValue("id"); id != "" {
		_, err := s.readableRevision(r, id)
		return err
	}
	_, _, err := s.spec(r, service)
	return err
}

// blockedReads counts the reads that wait, and the streams of events, by client.
type blockedReads struct {
	mu  sync.Mutex
	all int
	of  map[string]int
}

func newBlockedReads() *blockedReads { return &blockedReads{of: map[string]int{}} }

// begin counts a read that waits from now on, until done is called.
func (b *blockedReads) begin(r *http.Request) (done func(), err error) {
	client := addressOf(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.of[client] >= maxBlockedEach:
		return nil, &api.Error{Status: http.StatusTooManyRequests,
			Message: "this client has " + strconv.Itoa(maxBlockedEach) + " reads that wait for a change, or streams of events; end one, or read without waiting"}
	case b.all >= maxBlocked:
		return nil, unavailable("%d reads wait for a change, which is all that may; read without waiting", maxBlocked)
	}
	b.all++
	b.of[client]++
	return func() { b.end(client) }, nil
}

func (b *blockedReads) end(client string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all--
	if b.of[client]--; b.of[client] == 0 {
		delete(b.of, client)
	}
}
