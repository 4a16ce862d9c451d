package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/gocty"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/rules"
)

// Destinations of values whose Go type does not imply their format.
type (
	address struct{ dst *string } // Of Nomad or Consul; http:// is added where there is no scheme.
	size    struct{ dst *int64 }  // Bytes, as "256MiB".
	intSize struct{ dst *int }
	names   struct{ dst *[]string } // As in metas and drivers, each once.
)

// live marks the destination of a setting that a reload changes.
type live struct{ dst any }

// set assigns a value, and notes its source. A bad value is a problem, and the setting stays
// as it was.
func (l *loader) set(path string, at place, v cty.Value, dst any) {
	if err := l.assign(v, dst); err != nil {
		l.problem(at, path, "%s", err)
		return
	}
	l.from[path] = at
}

func (l *loader) assign(v cty.Value, dst any) error {
	switch d := dst.(type) {
	case live:
		return l.assign(v, d.dst)
	case *string:
		return put(d)(text(v))
	case *wadi.Auth:
		return put((*string)(d))(text(v))
	case address:
		s, err := text(v)
		if err == nil && !strings.Contains(s, "://") {
			s = "http://" + s
		}
		return put(d.dst)(s, err)
	case *bool:
		return put(d)(truth(v))
	case *int:
		return put(d)(number(v))
	case *time.Duration:
		return put(d)(duration(v))
	case size:
		return put(d.dst)(bytes(v))
	case intSize:
		n, err := bytes(v)
		return put(d.dst)(int(n), err)
	case *[]netip.Prefix:
		return put(d)(prefixes(v))
	case *[]string:
		return put(d)(texts(v))
	case names:
		return put(d.dst)(d.read(v))
	case *[]rules.Image:
		return put(d)(images(v))
	}
	return fmt.Errorf("setting of type %T", dst) // A mistake in the table of sections; a test sets everything.
}

// put returns a function that stores a value unless there is an error.
func put[T any](dst *T) func(T, error) error {
	return func(v T, err error) error {
		if err == nil {
			*dst = v
		}
		return err
	}
}

func text(v cty.Value) (string, error) {
	if v.Type() != cty.String {
		return "", fmt.Errorf("a string is required, got %s", v.Type().FriendlyName())
	}
	return v.AsString(), nil
}

// truth reads a bool, or the text of a bool from the environment.
func truth(v cty.Value) (bool, error) {
	switch v.Type() {
	case cty.Bool:
		return v.True(), nil
	case cty.String:
		if b, err := strconv.ParseBool(v.AsString()); err == nil {
			return b, nil
		}
		return false, fmt.Errorf("%q is neither true nor false", v.AsString())
	}
	return false, fmt.Errorf("true or false is required, got %s", v.Type().FriendlyName())
}

func number(v cty.Value) (int, error) {
	if v.Type() != cty.Number {
		return 0, fmt.Errorf("a number is required, got %s", v.Type().FriendlyName())
	}
	var n int
	if err := gocty.FromCtyValue(v, &n); err != nil {
		return 0, errors.New("a whole number is required")
	}
	return n, nil
}

func duration(v cty.Value) (time.Duration, error) {
	s, err := text(v)
	if err != nil {
		return 0, fmt.Errorf("a duration such as \"30s\" is required, got %s", v.Type().FriendlyName())
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as \"30s\" or \"1h30m\"", s)
	}
	return d, nil
}

// bytes reads a number of bytes, without or with a unit.
func bytes(v cty.Value) (int64, error) {
	if v.Type() == cty.Number {
		n, err := number(v)
		return int64(n), err
	}
	s, err := text(v)
	if err != nil {
		return 0, fmt.Errorf("a size such as \"256MiB\" is required, got %s", v.Type().FriendlyName())
	}
	for _, u := range []struct {
		name string
		size float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}} {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if err == nil && f >= 0 && f*u.size < math.MaxInt64/2 {
			return int64(f * u.size), nil
		}
		break
	}
	return 0, fmt.Errorf("%q is not a size such as \"64KiB\" or \"256MiB\"", s)
}

func isList(v cty.Value) bool {
	return v.CanIterateElements() && !v.Type().IsMapType() && !v.Type().IsObjectType()
}

func texts(v cty.Value) ([]string, error) {
	if !isList(v) {
		return nil, fmt.Errorf("a list of strings is required, got %s", v.Type().FriendlyName())
	}
	var out []string
	for _, e := range v.AsValueSlice() {
		s, err := text(e)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// maxNames bounds the lists of admission's rules.
const maxNames = 100

// read reads a list of names, none of them twice.
func (names) read(v cty.Value) ([]string, error) {
	all, err := texts(v)
	if err != nil {
		return nil, err
	}
	for i, s := range all {
		switch {
		case !nameRule.MatchString(s):
			return nil, fmt.Errorf("%.70q is no name here; use letters, digits, dots, dashes and underscores, at most 64", s)
		case slices.Contains(all[:i], s):
			return nil, fmt.Errorf("%q stands here twice", s)
		case i == maxNames:
			return nil, fmt.Errorf("at most %d are possible", maxNames)
		}
	}
	return all, nil
}

// images reads a list of patterns of images.
func images(v cty.Value) ([]rules.Image, error) {
	if !isList(v) {
		return nil, fmt.Errorf("a list of patterns is required, such as [\"ghcr.io/acme/**\"], got %s", v.Type().FriendlyName())
	}
	var out []rules.Image
	for _, e := range v.AsValueSlice() {
		s, err := text(e)
		if err != nil {
			return nil, err
		}
		p, err := rules.ParseImage(s)
		if err != nil {
			return nil, err
		}
		if out = append(out, p); len(out) > maxNames {
			return nil, fmt.Errorf("at most %d are possible", maxNames)
		}
	}
	return out, nil
}

func prefixes(v cty.Value) ([]netip.Prefix, error) {
	if !isList(v) {
		return nil, fmt.Errorf("a list of addresses is required, got %s", v.Type().FriendlyName())
	}
	var out []netip.Prefix
	for _, e := range v.AsValueSlice() {
		s, err := text(e)
		if err != nil {
			return nil, err
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return nil, fmt.Errorf("%q is neither an address nor a network such as \"10.0.0.0/8\"", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p.Masked())
	}
	return out, nil
}
