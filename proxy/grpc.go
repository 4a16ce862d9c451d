package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Codes of gRPC, https://grpc.github.io/grpc/core/md_doc_statuscodes.html.
const (
	grpcDeadlineExceeded = 4
	grpcPermissionDenied = 7
	grpcUnimplemented    = 12
	grpcInternal         = 13
	grpcUnavailable      = 14
	grpcUnauthenticated  = 16
)

// CodeRequestTimeout is the code in Wadi-Error for a request that took too long.
const CodeRequestTimeout = "request_timeout"

// maxGRPCMessage bounds the message of a refusal, before it is encoded.
const maxGRPCMessage = 1 << 10

// IsGRPC reports whether r is a gRPC call. Its client reads gRPC's own code, hardly the HTTP
// status.
func IsGRPC(r *http.Request) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(r.Header.Get("Content-Type")), "application/grpc")
	return ok && r.ProtoMajor >= 2 && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// RefuseGRPC answers a gRPC call that is refused with an HTTP status, by trailers only and
// the fields in w's header. It reports whether it did: it does nothing for other requests.
func RefuseGRPC(w http.ResponseWriter, r *http.Request, status int, message string) bool {
	if !IsGRPC(r) {
		return false
	}
	h := w.Header()
	h.Del("Content-Length")
	h.Set("Content-Type", "application/grpc")
	h.Set("Grpc-Status", strconv.Itoa(grpcCode(status)))
	h.Set("Grpc-Message", grpcMessage(message))
	w.WriteHeader(http.StatusOK)
	return true
}

// grpcCode is the code for an HTTP status in gRPC's mapping
// (https://grpc.github.io/grpc/core/md_doc_http-grpc-status-mapping.html), except for 504: it
// stands for calls that took too long, for which gRPC has a code.
func grpcCode(status int) int {
	switch status {
	case http.StatusUnauthorized:
		return grpcUnauthenticated
	case http.StatusForbidden:
		return grpcPermissionDenied
	case http.StatusNotFound:
		return grpcUnimplemented
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable:
		return grpcUnavailable
	case http.StatusGatewayTimeout:
		return grpcDeadlineExceeded
	}
	return grpcInternal
}

// grpcMessage percent-encodes what is not printable ASCII, and the percent sign.
func grpcMessage(s string) string {
	s = s[:min(len(s), maxGRPCMessage)]
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
