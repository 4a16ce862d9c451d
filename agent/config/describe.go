package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/rules"
)

// describe names the type of a setting, and its value as it would be written; empty: none.
func describe(dst any, v reflect.Value) (kind, text string) {
	switch dst.(type) {
	case size, intSize:
		return "size", strconv.Quote(sizeText(v.Int()))
	}
	switch x := v.Interface().(type) {
	case bool:
		return "bool", strconv.FormatBool(x)
	case int:
		return "number", strconv.Itoa(x)
	case time.Duration:
		return "duration", strconv.Quote(wadi.Duration(x).Short())
	case []string:
		return "list", "[" + strings.Join(quotedAll(x), ", ") + "]"
	case []netip.Prefix, []rules.Image:
		return "list", "[]"
	}
	if v.Kind() == reflect.String {
		if v.Len() == 0 {
			return "string", ""
		}
		return "string", strconv.Quote(v.String())
	}
	return "block", ""
}

func quotedAll(all []string) (out []string) {
	for _, s := range all {
		out = append(out, strconv.Quote(s))
	}
	return out
}

// sizeText is a number of bytes in the largest unit that divides it.
func sizeText(n int64) string {
	unit := 0
	for n >= 1024 && n%1024 == 0 && unit < 3 {
		n, unit = n/1024, unit+1
	}
	return fmt.Sprintf("%d%s", n, [...]string{"B", "KiB", "MiB", "GiB"}[unit])
}
