package jobspecs

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// Bounds of single arguments.
const (
	maxDecoded = 64 << 10 // Of a text to decode: the result is many times larger.
	maxIndent  = 1000
	maxDigits  = 1000 // Of a number in a text.
)

// wideVerb matches a width or precision of thousands.
var wideVerb = regexp.MustCompile(`%[^a-zA-Z%]*\d{4}`)

// guard makes fn refuse too expensive calls before it does anything.
func (m *budget) guard(name string, fn function.Function) function.Function {
	return function.New(&function.Spec{
		Params: fn.Params(), VarParam: fn.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) {
			if err := m.admit(name, args); err != nil {
				return cty.NilType, err
			}
			return fn.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return fn.Call(args) },
	})
}

func (m *budget) admit(name string, args []cty.Value) error {
	for _, a := range args {
		if !m.charge(a, 0) {
			return errors.New(m.exceeded)
		}
	}
	if err := refuses(name, args); err != nil {
		return err
	}
	if !m.spend(cost(name, args)) {
		return errors.New(m.exceeded)
	}
	return nil
}

// refuses returns why a function does not accept its arguments, which are already charged.
func refuses(name string, args []cty.Value) error {
	switch name {
	case "format", "formatlist":
		if wideVerb.MatchString(textOf(args, 0)) {
			return errors.New("a width or precision may have three digits")
		}
	case "indent":
		if n := numberOf(args, 0); n > maxIndent {
			return fmt.Errorf("at most %d spaces are possible", maxIndent)
		}
	case "parseint":
		if len(textOf(args, 0)) > maxDigits {
			return fmt.Errorf("a number may have %d digits", maxDigits)
		}
	case "jsondecode", "yamldecode", "csvdecode", "rsadecrypt":
		for i := range args {
			if len(textOf(args, i)) > maxDecoded {
				return fmt.Errorf("at most %d bytes can be decoded", maxDecoded)
			}
		}
		return refusesText(name, textOf(args, 0))
	}
	return nil
}

// refusesText returns why a text can't be decoded.
func refusesText(name, text string) error {
	if (name == "jsondecode" || name == "yamldecode") && brackets(text) > maxNest {
		return fmt.Errorf("it is nested more than %d deep", maxNest)
	}
	if name != "yamldecode" {
		return nil
	}
	for line := range strings.Lines(text) {
		if len(line)-len(strings.TrimLeft(line, " -?\t")) > 2*maxNest { // Each of these characters may begin a level.
			return fmt.Errorf("it is nested more than %d deep", maxNest)
		}
	}
	if strings.Contains(text, "&") && strings.Contains(text, "*") { // Each alias may double its anchor.
		return errors.New("YAML with anchors and aliases can't be decoded here")
	}
	return nil
}

// brackets is the greatest depth of nested brackets.
func brackets(text string) (deepest int) {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ']', '}':
			depth = max(0, depth-1)
		}
	}
	return deepest
}

// cost is the size of a call's result or its time, in bytes, beyond the size of its
// arguments.
func cost(name string, args []cty.Value) int {
	switch name {
	case "formatlist":
		longest := 1
		for _, a := range args {
			longest = max(longest, lengthOf(a))
		}
		return times(longest, sizeOf(args...))
	case "indent":
		return times(1+strings.Count(textOf(args, 1), "\n"), int(max(0, numberOf(args, 0))))
	case "join":
		n := 0
		for _, a := range args {
			n += max(0, lengthOf(a))
		}
		return times(n, len(textOf(args, 0)))
	case "replace":
		return times(1+len(textOf(args, 0)), 1+len(textOf(args, 2)))
	case "regex_replace":
		return times(8*(1+len(textOf(args, 0))), 1+len(textOf(args, 1))+len(textOf(args, 2)))
	case "flatten": // Each of its steps makes a type of all elements.
		n := sizeOf(args...) / perValue
		return times(n, n)
	case "setproduct":
		n := len(args)
		for _, a := range args {
			n = times(n, max(1, lengthOf(a)))
		}
		return times(n, perValue)
	case "distinct", "compact", "setunion", "setintersection", "merge", "contains", "index":
		n := 0
		for _, a := range args {
			n += max(1, lengthOf(a))
		}
		return times(n, n)
	}
	return 0
}

// times multiplies, but never overflows: the result is at most just above any budget.
func times(a, b int) int {
	if a != 0 && b > maxWork/a {
		return maxWork + 1
	}
	return a * b
}

func textOf(args []cty.Value, i int) string {
	if i >= len(args) || args[i].Type() != cty.String || !args[i].IsKnown() || args[i].IsNull() {
		return ""
	}
	return args[i].AsString()
}

func numberOf(args []cty.Value, i int) float64 {
	if i >= len(args) || args[i].Type() != cty.Number || !args[i].IsKnown() || args[i].IsNull() {
		return 0
	}
	f, _ := args[i].AsBigFloat().Float64()
	return f
}

// lengthOf is the number of v's elements; 0 if it has none.
func lengthOf(v cty.Value) int {
	if !v.IsKnown() || v.IsNull() || !v.CanIterateElements() {
		return 0
	}
	return v.LengthInt()
}

// sizeOf is what values are charged.
func sizeOf(all ...cty.Value) int {
	m := newBudget(maxWork)
	for _, v := range all {
		m.charge(v, 0)
	}
	return maxWork - max(0, m.remaining)
}
