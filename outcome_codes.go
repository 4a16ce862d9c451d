package wadi

import (
	"fmt"
	"strconv"
	"strings"
)

// maxGRPCCode is the last code that gRPC defines (UNAUTHENTICATED).
const maxGRPCCode = 16

// DefaultErrorCodes are the codes that count as errors where nothing else is said: HTTP's 5xx,
// and the statuses by which a gRPC server says that itself is to blame: UNKNOWN (2),
// DEADLINE_EXCEEDED (4), UNIMPLEMENTED (12), INTERNAL (13), UNAVAILABLE (14) and DATA_LOSS (15).
// These six are those for which OpenTelemetry's semantic conventions for gRPC make a server's
// span an error; the others are answers to what the caller has sent.
func DefaultErrorCodes() []string {
	return []string{"5xx", "grpc:2", "grpc:4", "grpc:12", "grpc:13", "grpc:14", "grpc:15"}
}

// CheckErrorCode reports what is wrong with a pattern of codes that count as errors: a class
// of HTTP's ("5xx"), one of its statuses ("429"), or a status of gRPC's by number ("grpc:14").
func CheckErrorCode(pattern string) error {
	if n, ok := strings.CutPrefix(pattern, "grpc:"); ok {
		code, err := strconv.Atoi(n)
		switch {
		case err != nil || strconv.Itoa(code) != n || code < 0 || code > maxGRPCCode:
			return fmt.Errorf("%q is no status of gRPC: write grpc: and a number from 1 to %d, such as grpc:14 (UNAVAILABLE)", pattern, maxGRPCCode)
		case code == 0:
			return fmt.Errorf("%q is OK, which is no error", pattern)
		}
		return nil
	}
	if len(pattern) == 3 && pattern[1:] == "xx" && pattern[0] >= '2' && pattern[0] <= '5' {
		return nil
	}
	if code, err := strconv.Atoi(pattern); err == nil && len(pattern) == 3 && code >= 200 && code <= 599 {
		return nil
	}
	return fmt.Errorf("%q is no code of an answer: write a class (5xx, 4xx), a status (429), or a status of gRPC (grpc:14)", pattern)
}

// IsErrorCode reports whether one of the patterns names a code. A class does not name
// [CodeCallerGone], as no answer was given.
func IsErrorCode(code string, patterns []string) bool {
	for _, p := range patterns {
		if code == p {
			return true
		}
		if len(p) == 3 && p[1:] == "xx" && len(code) == 3 && code[0] == p[0] && code != CodeCallerGone {
			return true
		}
	}
	return false
}

// IsOutcomeCode reports whether code may be one of [Outcomes]: a status of HTTP's, a class of
// them, or a status of gRPC's.
func IsOutcomeCode(code string) bool {
	if n, ok := strings.CutPrefix(code, "grpc:"); ok {
		c, err := strconv.Atoi(n)
		return err == nil && c >= 0 && c <= maxGRPCCode && strconv.Itoa(c) == n
	}
	if len(code) != 3 || code[0] < '1' || code[0] > '5' {
		return false
	}
	return code[1:] == "xx" || isDigit(code[1]) && isDigit(code[2])
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }
