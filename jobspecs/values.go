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

// maxText bounds a text, in bytes, and so what messages quote of it.
const maxText = 1024

func tooLong(s string) error {
	if len(s) > maxText {
		return fmt.Errorf("at most %d bytes are allowed, got %d", maxText, len(s))
	}
	return nil
}

func text(dst *string, check func(string) error) func(cty.Value) error {
	return func(v cty.Value) error {
		if v.Type() != cty.String {
			return fmt.Errorf("a string is required, got %s", given(v))
		}
		s := v.AsString()
		if err := tooLong(s); err != nil {
			return err
		}
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
			return fmt.Errorf("true or false is required, got %s", given(v))
		}
		*dst = b.True()
		return nil
	}
}

func number(dst *float64, low, high float64) func(cty.Value) error {
	return func(v cty.Value) error {
		n, err := convert.Convert(v, cty.Number)
		if err != nil {
			return fmt.Errorf("a number is required, got %s", given(v))
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
			return fmt.Errorf("a duration in quotes is required, such as \"30s\", got %s", given(v))
		}
		if err := tooLong(v.AsString()); err != nil {
			return err
		}
		d, err := time.ParseDuration(v.AsString())
		if err != nil {
			return fmt.Errorf("%q is not a duration; write one like \"30s\", \"5m\" or \"500ms\"", v.AsString())
		}
		if d < low || d > high {
			return rangeError(fmt.Sprintf("must be between %s and %s, got %s", wadi.Duration(low).Short(), wadi.Duration(high).Short(), wadi.Duration(d).Short()))
		}
		*dst = wadi.Duration(d)
		return nil
	}
}

// age reads how long a revision is kept. The bounds are those of the agent's own.
func age(dst **wadi.Duration) func(cty.Value) error {
	return func(v cty.Value) error {
		var d wadi.Duration
		if err := duration(&d, 0, 10*365*24*time.Hour)(v); err != nil {
			return err
		}
		*dst = &d
		return nil
	}
}

// stringList reads a list of strings. Its error joins those of all elements.
func stringList(dst *[]string, most int, check func(string) error) func(cty.Value) error {
	return func(v cty.Value) error {
		if t := v.Type(); !t.IsListType() && !t.IsTupleType() && !t.IsSetType() {
			return fmt.Errorf("a list of strings is required, got %s", given(v))
		}
		if n := v.LengthInt(); n > most {
			return fmt.Errorf("at most %d elements are allowed, got %d", most, n)
		}
		var all []string
		var mistakes []error
		for i, e := range v.AsValueSlice() {
			if e.IsNull() || e.Type() != cty.String {
				mistakes = append(mistakes, fmt.Errorf("a list of strings is required; element %d is %s", i+1, given(e)))
				continue
			}
			s := e.AsString()
			if err := tooLong(s); err != nil {
				mistakes = append(mistakes, err)
			} else if slices.Contains(all, s) {
				mistakes = append(mistakes, fmt.Errorf("%q stands here twice", s))
			} else if err := check(s); err != nil {
				mistakes = append(mistakes, err)
			}
			all = append(all, s)
		}
		if len(mistakes) > 0 {
			return errors.Join(mistakes...)
		}
		*dst = all
		return nil
	}
}

// stringMap reads a map of strings. Its error joins those of all entries.
func stringMap(dst *map[string]string, most, longest int) func(cty.Value) error {
	return func(v cty.Value) error {
		if t := v.Type(); !t.IsMapType() && !t.IsObjectType() {
			return fmt.Errorf("a map of strings is required, got %s", given(v))
		}
		all := map[string]string{}
		entries := v.AsValueMap()
		if len(entries) > most {
			return fmt.Errorf("at most %d entries are allowed, got %d", most, len(entries))
		}
		var mistakes []error
		for _, k := range slices.Sorted(maps.Keys(entries)) {
			s, err := convert.Convert(entries[k], cty.String)
			switch {
			case err != nil || s.IsNull():
				err = fmt.Errorf("a map of strings is required; the value of %.20q is %s", k, given(entries[k]))
			case k == "":
				err = errors.New("an entry has an empty name; name it, or remove it")
			case len(k)+len(s.AsString()) > longest:
				err = fmt.Errorf("an entry may have at most %d bytes; %.20q has more", longest, k)
			default:
				all[k] = s.AsString()
			}
			if err != nil {
				mistakes = append(mistakes, err)
			}
		}
		if len(mistakes) > 0 {
			return errors.Join(mistakes...)
		}
		*dst = all
		return nil
	}
}

// given describes a value of the wrong type.
func given(v cty.Value) string {
	switch t := v.Type(); {
	case v.IsNull():
		return "null"
	case t == cty.String:
		return fmt.Sprintf("%.50q", v.AsString())
	case t == cty.Number:
		f, _ := v.AsBigFloat().Float64()
		return figure(f)
	case t == cty.Bool && v.True():
		return "true"
	case t == cty.Bool:
		return "false"
	case t.IsListType() || t.IsTupleType() || t.IsSetType():
		return "a list"
	case t.IsMapType() || t.IsObjectType():
		return "a map"
	}
	return v.Type().FriendlyName()
}

// figure formats a number for people.
func figure(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprintf("%g", f)
}
