package fields_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/proxy/fields"
)

func spellings(name string) []string {
	return []string{name, strings.ToLower(name), strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ToLower(strings.Replace(name, "-", "_", 1))}
}

func TestIsForwarding(t *testing.T) {
	for name, want := range map[string]bool{
		"Forwarded": true, "X-Forwarded-For": true, "X-Forwarded-Host": true, "X-Forwarded-Proto": true, "X-Forwarded-Port": true,
		"X-Forwarded-Client-Cert": true, "X-Forwarded-Ssl": true, "X-Forwarded-Scheme": true, "X-Forwarded-Prefix": true, "X-Forwarded-User": true,
		"X-Forwarded-Whatever-Comes": true, "X-Original-Url": true, "X-Rewrite-Url": true, "Front-End-Https": true, "X-Real-Ip": true,
		"True-Client-Ip": true, "Cf-Connecting-Ip": true, "X-Envoy-External-Address": true, "X-Envoy-Internal": true, "X-Envoy-Retry-On": true,
		"Client-Cert": true, "X-Ssl-Client-Verify": true, "Remote-User": true, "X-Auth-Request-Email": true, "Proxy": true,

		"": false, "X": false, "X-Forwarded": false, "Accept": false, "User-Agent": false, "X-Request-Id": false, "Traceparent": false,
		"X-Requested-With": false, "Authorization": false, "Proxy-Authorization": false, "X-Http-Method-Override": false, "Wadi-Tag": false,
		"Origin": false, "Referer": false, "Via": false,
	} {
		for _, s := range spellings(name) {
			if s = http.CanonicalHeaderKey(s); fields.IsForwarding(s) != want {
				t.Errorf("%s: %v", s, !want)
			}
		}
	}
}

func TestMayTrail(t *testing.T) {
	for name, want := range map[string]bool{
		"Grpc-Status": true, "Sum": true, "Content-Md5": true, "Content-Digest": true, "Etag": true, "X-Checksum": true, "Server-Timing": true,
		"": false, "Cookie": false, "Set-Cookie": false, "Wadi-Proxied": false, "Wadi-Error": false, "Wadi-Anything": false, "X-Forwarded-For": false,
		"X-Real-Ip": false, "Content-Length": false, "Content-Type": false, "Transfer-Encoding": false, "Host": false, "Authorization": false,
		"Proxy-Authorization": false, "If-Match": false, "Te": false, "Trailer": false, "Connection": false, "Keep-Alive": false, "Upgrade": false,
		"Client-Cert": false, "Forwarded": false,
	} {
		for _, s := range spellings(name) {
			if got := fields.MayTrail(s); got != want {
				t.Errorf("%s: %v", s, got)
			}
		}
	}
}

func TestIsForwarding_CostsNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { fields.IsForwarding("X-Forwarded-For"); fields.IsForwarding("User-Agent") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
