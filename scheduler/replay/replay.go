// Package replay makes scaling decisions from a file: JSON lines in, JSON lines out. The
// time comes from the input.
//
// It promises to decide with the agent's own code, [scheduler.Decide] and
// [scheduler.Windows]; to answer every line before it reads the next one; and to name the
// line of a mistake. It refuses input that makes no sense, and ignores fields that it does
// not know.
package replay

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// maxLine bounds one line of the input, in bytes.
const maxLine = 16 << 20

// Result is the answer to one evaluation.
type Result struct {
	Seconds     float64 `json:"t_s"`
	Desired     int     `json:"desired"` // Before bounds.
	ExcessBurst float64 `json:"excess_burst"`
	Panicking   bool    `json:"panicking"`
	Valid       bool    `json:"valid"` // False: nothing changed.
	Reason      string  `json:"reason"`
}

// Run answers every evaluation of in on out, until in ends.
func Run(in io.Reader, out io.Writer) error {
	var d decider
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	n := 0
	for lines.Scan() {
		n++
		results, err := d.line(bytes.TrimPrefix(lines.Bytes(), []byte("\xef\xbb\xbf")))
		for _, r := range results {
			if err := enc.Encode(r); err != nil {
				return fmt.Errorf("write decision: %w", err)
			}
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("line %d: longer than %d bytes", n+1, maxLine)
	} else if err != nil {
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	if !d.set {
		return fmt.Errorf("line %d: the setting is missing: the first line is, for instance, {\"config\": {\"target_value\": 70}}", n+1)
	}
	return nil
}

// decider is the state between two lines.
type decider struct {
	set      bool // The settings were read.
	config   config
	memory   wadi.Decider
	windows  windows
	started  bool // An evaluation was read.
	at       float64
	previous Result
}

// line handles all values of one line.
func (d *decider) line(text []byte) (results []Result, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	for {
		var raw json.RawMessage
		switch err := dec.Decode(&raw); {
		case errors.Is(err, io.EOF):
			return results, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return results, errors.New("the JSON ends before it is complete")
		case err != nil:
			return results, fmt.Errorf("not JSON: %w", err)
		}
		if !d.set {
			if err := d.begin(raw); err != nil {
				return results, err
			}
			continue
		}
		r, err := d.step(raw)
		if err != nil {
			return results, err
		}
		results = append(results, r)
	}
}

// begin reads the first value, the settings.
func (d *decider) begin(raw json.RawMessage) error {
	var h header
	if err := decode(raw, &h); err != nil {
		return err
	}
	if absent(h.Config) {
		return errors.New("the setting comes first: {\"config\": {…}, \"ready_at_start\": 1, \"start_s\": 0}")
	}
	d.config = defaultConfig()
	if err := d.config.change(h.Config); err != nil {
		return err
	}
	ready, err := whole("ready_at_start", h.Ready)
	if err != nil {
		return err
	}
	if err := bounded("start_s", h.Start); err != nil {
		return err
	}
	d.set, d.at = true, h.Start
	d.memory = scheduler.NewDecider(ready, at(h.Start))
	d.windows = newWindows(h.Start)
	first, _ := scheduler.Decide(d.config.settings(), d.memory, scheduler.Input{Ready: ready}, at(h.Start))
	d.previous = Result{Desired: ready, ExcessBurst: first.ExcessBurst}
	return nil
}

// step answers one evaluation.
func (d *decider) step(raw json.RawMessage) (Result, error) {
	e := evaluation{}
	if err := decode(raw, &e); err != nil {
		return Result{}, err
	}
	if err := d.check(e); err != nil {
		return Result{}, err
	}
	if !absent(e.Config) {
		if err := d.config.change(e.Config); err != nil {
			return Result{}, err
		}
	}
	d.started, d.at = true, *e.Seconds
	now, s := at(d.at), d.config.settings()
	if e.Samples != nil {
		stable, panicking := d.windows.read(*e.Samples, d.at, s)
		e.Stable, e.Panic = orElse(e.Stable, stable), orElse(e.Panic, panicking)
	}
	why := e.unknown()
	if why != "" {
		r := d.previous
		r.Seconds, r.Valid, r.Reason = d.at, false, why+": nothing changes"
		r.Panicking = !d.memory.PanicSince.IsZero()
		return r, nil
	}
	ready, err := whole("ready", *e.Ready)
	if err != nil {
		return Result{}, err
	}
	var out scheduler.Output
	out, d.memory = scheduler.Decide(s, d.memory, scheduler.Input{Stable: *e.Stable, Panic: *e.Panic, Ready: ready}, now)
	d.previous = Result{
		Seconds: d.at, Desired: out.Desired, ExcessBurst: out.ExcessBurst, Panicking: out.Panicking, Valid: out.Valid, Reason: out.Reason,
	}
	return d.previous, nil
}

func (d *decider) check(e evaluation) error {
	if e.Seconds == nil {
		return errors.New("t_s is missing: when it is evaluated, in seconds")
	}
	if err := bounded("t_s", *e.Seconds); err != nil {
		return err
	}
	if d.started && *e.Seconds < d.at {
		return fmt.Errorf("t_s goes back: %v after %v", *e.Seconds, d.at)
	}
	for _, v := range []struct {
		name  string
		value *float64
	}{{"stable", e.Stable}, {"panic", e.Panic}} {
		if v.value != nil && *v.value < 0 {
			return fmt.Errorf("%s must be 0 or more, got %v", v.name, *v.value)
		}
	}
	if e.Samples != nil {
		for _, s := range *e.Samples {
			if err := s.check(); err != nil {
				return err
			}
		}
	}
	if e.Ready != nil {
		_, err := whole("ready", *e.Ready)
		return err
	}
	return nil
}

// at is a moment of the input.
func at(seconds float64) time.Time {
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(math.Round(part*1e9))).UTC()
}
