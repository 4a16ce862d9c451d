package scrape

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/wadi-run/wadi"
)

// Headers in which an instance reports about itself.
const (
	headerReady = "Wadi-Ready" // Whether it is ready.
	headerWide  = "Wadi-Wide"  // The address of its app past the queue-proxy.

	headerUnshielded = "Wadi-Unshielded" // Why its network is open to other callers although it should not be.
)

// Bounds of an answer. An hour of seconds takes 0.3 MiB.
const (
	maxInstanceBody  = 1 << 20
	maxActivatorBody = 256 << 20
	maxValue         = 1e9 // Of each value in a sample.
	maxReport        = 200 // Characters of each text in a self-report.
)

// query is one request to a source.
type query struct {
	src     Source
	since   int64
	wait    time.Duration
	timeout time.Duration
}

// answer is the answer of a source.
type answer struct {
	stats []wadi.Stats
	ready string // Header; empty if the source did not send it.

	unready, wide, unshielded string // Headers.
}

// askReady asks an instance whether it is ready; why is its reason if it is not.
func (s *Scraper) askReady(ctx context.Context, addr string) (ready bool, why string, err error) {
	ctx, cancel := context.WithTimeout(ctx, shortTimeout)
	defer cancel()
	resp, err := s.get(ctx, addr, "/ready", "", true)
	if err != nil {
		return false, "", err
	}
	defer s.discard(resp)
	if resp.StatusCode == http.StatusOK {
		return true, "", nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4*maxReport)) // Bytes.
	return false, wadi.OneLine(string(text), maxReport), err
}

func (s *Scraper) ask(ctx context.Context, q query) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	args := url.Values{"since": {strconv.FormatInt(q.since, 10)}, "wait": {q.wait.String()}}
	resp, err := s.get(ctx, q.src.Addr, "/v1/stats", args.Encode(), q.wait == 0)
	if err != nil {
		return answer{}, err
	}
	defer s.discard(resp)
	if resp.StatusCode != http.StatusOK {
		return answer{}, fmt.Errorf("read statistics of %s: status %d", q.src.ID, resp.StatusCode)
	}
	a := answer{
		ready:   resp.Header.Get(headerReady),
		unready: wadi.OneLine(resp.Header.Get(wadi.HeaderUnready), maxReport), wide: wadi.OneLine(resp.Header.Get(headerWide), maxReport),
		unshielded: wadi.OneLine(resp.Header.Get(headerUnshielded), maxReport),
	}
	if a.stats, err = decode(resp.Body, q.src); err != nil {
		return answer{}, fmt.Errorf("read statistics of %s: %w", q.src.ID, err)
	}
	return a, nil
}

// get sends a request. A short one occupies a slot until the header of its answer has
// come.
func (s *Scraper) get(ctx context.Context, addr, path, args string, short bool) (*http.Response, error) {
	if short {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	u := url.URL{Scheme: "http", Host: addr, Path: path, RawQuery: args}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", addr, err)
	}
	return s.client.Do(req)
}

// discard reads a small rest of the body, so that the connection can be used again.
func (s *Scraper) discard(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	_ = resp.Body.Close()
}

// decode reads the statistics of a source, and refuses invalid ones.
func decode(body io.Reader, src Source) ([]wadi.Stats, error) {
	limit := int64(maxInstanceBody)
	if src.Kind == wadi.SourceActivator {
		limit = maxActivatorBody
	}
	in := &io.LimitedReader{R: body, N: limit + 1}
	lines := json.NewDecoder(in)
	var all []wadi.Stats
	for {
		var st wadi.Stats
		err := lines.Decode(&st)
		switch {
		case in.N == 0:
			return nil, fmt.Errorf("answer is larger than %d bytes", limit)
		case errors.Is(err, io.EOF) && (src.Kind == wadi.SourceActivator || len(all) == 1):
			return all, nil
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("want one object, got %d", len(all))
		case err != nil:
			return nil, err
		}
		if err := check(st, src); err != nil {
			return nil, err
		}
		if len(all) > 0 && st.Boot != all[0].Boot {
			return nil, errors.New("lines of different boots")
		}
		all = append(all, st)
	}
}

func check(st wadi.Stats, src Source) error {
	switch {
	case st.Boot == "":
		return errors.New("boot is missing")
	case st.Now < 0 || st.Now > math.MaxInt32:
		return fmt.Errorf("now is %d", st.Now)
	case src.Kind == wadi.SourceInstance && st.Revision != src.Revision:
		return fmt.Errorf("answered for revision %q, not %q", st.Revision, src.Revision)
	case st.Source != "" && st.Source != src.ID:
		return fmt.Errorf("answered by another %s, %q", src.Kind, st.Source)
	}
	if err := checkOutcomes(st.Outcomes); err != nil {
		return err
	}
	last := int64(-1)
	for _, v := range st.Samples {
		if v.N <= last || v.N >= st.Now {
			return fmt.Errorf("second %d is out of order or not over", v.N)
		}
		last = v.N
		for _, f := range []float64{v.Concurrency, v.ConcurrencyProxied, v.Begun, v.BegunProxied} {
			if !(f >= 0 && f <= maxValue) {
				return fmt.Errorf("second %d has the value %g", v.N, f)
			}
		}
	}
	return nil
}

// checkOutcomes refuses codes that no source reports: they are kept, and shown.
func checkOutcomes(o *wadi.Outcomes) error {
	if o == nil {
		return nil
	}
	const classes, grpc = 5, 17
	if n := len(o.Codes); n > wadi.MaxOutcomeCodes+classes+grpc {
		return fmt.Errorf("outcomes have %d codes", n)
	}
	for code := range o.Codes {
		if !wadi.IsOutcomeCode(code) {
			return fmt.Errorf("outcomes have the code %.20q", code)
		}
	}
	return nil
}
