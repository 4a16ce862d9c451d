package jobspecs

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/wadi-run/wadi"
)

// Readers of values. Each stores a value only if it is good.

// rangeError says that a value of the right type is too small or too large.
type rangeError string

// Error implements error.
func (e rangeError) Error() string { return string(e) }

func text(dst *string, check func(string) error) func(cty.Value) error {
	return func(v cty.Value) error {
		if v.Type() != cty.String {
			return fmt.Errorf("a string is required, got %s", v.Type().FriendlyName())
		}
		s := v.AsString()
		if check != nil {
			if err := check(s); err != nil {
				return err
			}
		}
		*dst = s
		return nil
	}
}

// oneOf reads one of a few words.
func oneOf[T ~string](dst *T, words ...T) func(cty.Value) error {
	var s string
	read := text(&s, nil)
	return func(v cty.Value) error {
		if err := read(v); err != nil {
			return err
		}
		if !slices.Contains(words, T(s)) {
			quoted := make([]string, len(words))
			for i, w := range words {
				quoted[i] = fmt.Sprintf("%q", string(w))
			}
			return fmt.Errorf("%q is not one of %s", s, strings.Join(quoted, ", "))
		}
		*dst = T(s)
		return nil
	}
}

func flag(dst *bool) func(cty.Value) error {
	return func(v cty.Value) error {
		b, err := convert.Convert(v, cty.Bool)
		if err != nil {
			return fmt.Errorf("true or false is required, got %s", v.Type().FriendlyName())
		}
		*dst = b.True()
		return nil
	}
}

func number(dst *float64, low, high float64) func(cty.Value) error {
	return func(v cty.Value) error {
		n, err := convert.Convert(v, cty.Number)
		if err != nil {
			return fmt.Errorf("a number is required, got %s", v.Type().FriendlyName())
		}
		f, _ := n.AsBigFloat().Float64()
		if f < low || f > high {
			return rangeError(fmt.Sprintf("must be between %s and %s, got %s", figure(low), figure(high), figure(f)))
		}
		*dst = f
		return nil
	}
}

func integer(dst *int, low, high int) func(cty.Value) error {
	var f float64
	read := number(&f, float64(low), float64(high))
	return func(v cty.Value) error {
		if err := read(v); err != nil {
			return err
		}
		if f != math.Trunc(f) {
			return fmt.Errorf("a whole number is required, got %s", figure(f))
		}
		*dst = int(f)
		return nil
	}
}

// above reads a number that must be greater than low.
func above(dst *float64, low, high float64) func(cty.Value) error {
	var f float64
	read := number(&f, math.Inf(-1), math.Inf(1))
	return func(v cty.Value) error {
		if err := read(v); err != nil {
			return err
		}
		if f <= low || f > high {
			return fmt.Errorf("must be greater than %s and at most %s, got %s", figure(low), figure(high), figure(f))
		}
		*dst = f
		return nil
	}
}

func duration(dst *wadi.Duration, low, high time.Duration) func(cty.Value) error {
	return func(v cty.Value) error {
		if v.Type() != cty.String {
			return fmt.Errorf("a duration in quotes is required, such as \"30s\", got %s", v.Type().FriendlyName())
		}
		d, err := time.ParseDuration(v.AsString())
		if err != nil {
			return fmt.Errorf("%q is not a duration; write one like \"30s\", \"5m\" or \"500ms\"", v.AsString())
		}
		if d < low || d > high {
			return rangeError(fmt.Sprintf("must be between %s and %s, got %s", span(low), span(high), span(d)))
		}
		*dst = wadi.Duration(d)
		return nil
	}
}

func stringList(dst *[]string, most int, check func(string) error) func(cty.Value) error {
	return func(v cty.Value) error {
		if t := v.Type(); !t.IsListType() && !t.IsTupleType() && !t.IsSetType() {
			return fmt.Errorf("a list of strings is required, got %s", t.FriendlyName())
		}
		var all []string
		for _, e := range v.AsValueSlice() {
			if e.IsNull() || e.Type() != cty.String {
				return errors.New("a list of strings is required; one of its elements is none")
			}
			s := e.AsString()
			if err := check(s); err != nil {
				return err
			}
			if slices.Contains(all, s) {
				return fmt.Errorf("%q stands here twice", s)
			}
			if all = append(all, s); len(all) > most {
				return fmt.Errorf("at most %d elements are allowed", most)
			}
		}
		*dst = all
		return nil
	}
}

// stringMap reads a map of strings.
func stringMap(dst *map[string]string, most, longest int) func(cty.Value) error {
	return func(v cty.Value) error {
		if t := v.Type(); !t.IsMapType() && !t.IsObjectType() {
			return fmt.Errorf("a map of strings is required, got %s", t.FriendlyName())
		}
		all := map[string]string{}
		given := v.AsValueMap()
		for _, k := range slices.Sorted(maps.Keys(given)) {
			s, err := convert.Convert(given[k], cty.String)
			if err != nil || s.IsNull() {
				return fmt.Errorf("a map of strings is required; the value of %q is none", k)
			}
			if len(k)+len(s.AsString()) > longest {
				return fmt.Errorf("an entry may have at most %d bytes; %.20q has more", longest, k)
			}
			all[k] = s.AsString()
		}
		if len(all) > most {
			return fmt.Errorf("at most %d entries are allowed, got %d", most, len(all))
		}
		*dst = all
		return nil
	}
}

// figure formats a number for people.
func figure(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprintf("%g", f)
}

// span formats a duration for people: 1h instead of 1h0m0s.
func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
