package replay

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// header is the first line.
type header struct {
	Config json.RawMessage `json:"config"`
	Ready  float64         `json:"ready_at_start"`
	Start  float64         `json:"start_s"`
}

// evaluation is any other line. Missing values are nil.
type evaluation struct {
	Seconds     *float64        `json:"t_s"`
	Stable      *float64        `json:"stable"`
	Panic       *float64        `json:"panic"`
	Samples     *[]sample       `json:"samples"`
	Ready       *float64        `json:"ready"`
	Config      json.RawMessage `json:"config"`
	MetricError bool            `json:"metric_error"`
	ReadyError  bool            `json:"ready_error"`
}

// unknown says which required value an evaluation lacks; empty: none.
func (e evaluation) unknown() string {
	switch {
	case e.ReadyError || e.Ready == nil:
		return "how many instances are ready is not known"
	case e.MetricError || e.Stable == nil || e.Panic == nil:
		return "the load is not known"
	}
	return ""
}

// sample is the load of one second.
type sample struct {
	Second      *float64 `json:"second"`
	Concurrency float64  `json:"concurrency"`
}

func (s sample) check() error {
	switch {
	case s.Second == nil:
		return errors.New("samples: second is missing")
	case *s.Second != math.Trunc(*s.Second):
		return fmt.Errorf("samples: second must be whole, got %v", *s.Second)
	case s.Concurrency < 0:
		return fmt.Errorf("samples: concurrency must be 0 or more, got %v", s.Concurrency)
	}
	return bounded("samples: second", *s.Second)
}

// config is the settings as they are written. Later ones change what they name.
type config struct {
	Target         *float64 `json:"target_value"`
	Total          float64  `json:"total_value"`
	Burst          float64  `json:"burst_capacity"`
	MaxUpRate      float64  `json:"max_up_rate"`
	MaxDownRate    float64  `json:"max_down_rate"`
	PanicThreshold float64  `json:"panic_threshold"`
	StableWindow   float64  `json:"stable_window_s"`
	PanicWindow    *float64 `json:"panic_window_s"`
	DownDelay      float64  `json:"down_delay_s"`
	Activation     float64  `json:"activation"`
	Reachable      bool     `json:"reachable"`
}

// defaultConfig is the config of a service that sets nothing.
func defaultConfig() config {
	return config{
		Total: wadi.Concurrency.Default().Target, MaxUpRate: 1000, MaxDownRate: 2, PanicThreshold: 2, StableWindow: 60,
		Activation: 1, Reachable: true,
	}
}

// change applies the values that raw names, if all of them are valid.
func (c *config) change(raw json.RawMessage) error {
	next := *c
	if err := decode(raw, &next); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if err := next.check(); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	*c = next
	return nil
}

func (c config) check() error {
	if _, err := whole("activation", c.Activation); err != nil {
		return err
	}
	for _, v := range []struct {
		name      string
		value     float64
		low, high float64
	}{
		{"target_value", c.target(), math.SmallestNonzeroFloat64, math.MaxFloat64},
		{"total_value", c.Total, 0, math.MaxFloat64},
		{"max_up_rate", c.MaxUpRate, 1, math.MaxFloat64},
		{"max_down_rate", c.MaxDownRate, 1, math.MaxFloat64},
		{"panic_threshold", c.PanicThreshold, math.SmallestNonzeroFloat64, math.MaxFloat64},
		{"stable_window_s", c.StableWindow, 1, maxWindow},
		{"panic_window_s", c.panicWindow(), 1, maxWindow},
		{"down_delay_s", c.DownDelay, 0, maxDelay},
	} {
		switch {
		case v.value >= v.low && v.value <= v.high:
		case v.low == math.SmallestNonzeroFloat64:
			return fmt.Errorf("%s must be greater than 0, got %v", v.name, v.value)
		case v.high == math.MaxFloat64:
			return fmt.Errorf("%s must be at least %v, got %v", v.name, v.low, v.value)
		default:
			return fmt.Errorf("%s must be between %v and %v, got %v", v.name, v.low, v.high, v.value)
		}
	}
	return nil
}

// target is the default utilization of the total unless it is set.
func (c config) target() float64 {
	if c.Target != nil {
		return *c.Target
	}
	return max(0.01, c.Total*wadi.Concurrency.Default().Utilization)
}

// panicWindow is a tenth of the window unless it is set.
func (c config) panicWindow() float64 {
	if c.PanicWindow != nil {
		return *c.PanicWindow
	}
	return scheduler.PanicWindow(duration(c.StableWindow), 10).Seconds()
}

func (c config) settings() scheduler.Settings {
	return scheduler.Settings{
		Metric: wadi.Concurrency, TargetValue: c.target(), TotalValue: c.Total, BurstCapacity: c.Burst,
		MaxUpRate: c.MaxUpRate, MaxDownRate: c.MaxDownRate, PanicThreshold: c.PanicThreshold,
		StableWindow: duration(c.StableWindow), PanicWindow: duration(c.panicWindow()), DownDelay: duration(c.DownDelay),
		Activation: int(c.Activation), Reachable: c.Reachable,
	}
}

// Bounds of the input.
const (
	maxSeconds = 1e12 // Of a time; Unix seconds are fine.
	maxWindow  = 3600 // Seconds: the agent's longest window.
	maxDelay   = 1e9  // Seconds.
	maxCount   = 1e9
)

func bounded(name string, seconds float64) error {
	if math.Abs(seconds) > maxSeconds {
		return fmt.Errorf("%s must be between -%v and %v, got %v", name, maxSeconds, maxSeconds, seconds)
	}
	return nil
}

// whole checks that a number is a count.
func whole(name string, v float64) (int, error) {
	if v != math.Trunc(v) || v < 0 || v > maxCount {
		return 0, fmt.Errorf("%s must be a whole number between 0 and %v, got %v", name, maxCount, v)
	}
	return int(v), nil
}

func duration(seconds float64) time.Duration {
	return time.Duration(math.Round(seconds * float64(time.Second)))
}

// decode reads one JSON object into dst; its errors are for users.
func decode(raw json.RawMessage, dst any) error {
	if len(raw) == 0 || raw[0] != '{' {
		return fmt.Errorf("an object is required, got %.40s", raw)
	}
	err := json.Unmarshal(raw, dst)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s can't be a %s", wrong.Field, wrong.Value)
	}
	return err
}

func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

func orElse(v *float64, other float64) *float64 {
	if v != nil {
		return v
	}
	return &other
}
