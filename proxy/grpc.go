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

// CodeRequestTimeout is what Wadi-Error says of a request that took too long.
const CodeRequestTimeout = "request_timeout"

// maxGRPCMessage bounds the message of a refusal, before it is encoded.
const maxGRPCMessage = 1 << 10

// IsGRPC reports whether r is a gRPC call. To its client an HTTP status says
// little, and its own code all.
func IsGRPC(r *http.Request) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(r.Header.Get("Content-Type")), "application/grpc")
	return ok && r.ProtoMajor >= 2 && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// RefuseGRPC answers a gRPC call that an HTTP status would answer else: with
// trailers only, and besides with what w's header has. It reports whether it did:
// what is no gRPC call it leaves alone.
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

// grpcCode is what gRPC's mapping of HTTP statuses says
// (https://grpc.github.io/grpc/core/md_doc_http-grpc-status-mapping.html), but for
// 504: that is said of calls that took too long, for which there is a code.
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
