package gate

import (
	"strconv"
	"strings"
	"time"
)

// percent writes a share as, for instance, "4.1 %".
func percent(part float64) string {
	p := 100 * part
	switch {
	case p == 0:
		return "0 %"
	case p < 0.01:
		return "less than 0.01 %"
	case p < 1:
		return trimmed(p, 2) + " %"
	case p < 99.95:
		return trimmed(p, 1) + " %"
	case p < 100:
		return "almost 100 %"
	}
	return "100 %"
}

func trimmed(v float64, decimals int) string {
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

func quantity(n uint64) string {
	if n == 1 {
		return "1 request"
	}
	return thousands(n) + " requests"
}

// thousands writes n with commas: "7,308".
func thousands(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// inWords writes a latency with three digits.
func inWords(d time.Duration) string {
	for unit := time.Microsecond; ; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit).String()
		}
	}
}
