package queue

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
)

// ParseEnv reads the configuration from an environment such as [os.Environ] returns. It
// reports all errors at once, unknown names among them. It ignores names that don't begin
// with WADI_, but for Nomad's of ports and of the task's memory, and those that belong to
// the command line. An empty value counts as absent.
func ParseEnv(environ []string) (Config, []error) {
	e := &env{values: map[string]string{}}
	var upstreams, mapped []uint16
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if port, err := strconv.ParseUint(value, 10, 16); err == nil {
			switch {
			case strings.HasPrefix(name, "NOMAD_UPSTREAM_PORT_"):
				upstreams = append(upstreams, uint16(port))
			case strings.HasPrefix(name, "NOMAD_PORT_"):
				mapped = append(mapped, uint16(port))
			}
		}
		if name == memoryName {
			e.memory, _ = strconv.Atoi(value) // 0: not known.
		}
		if strings.HasPrefix(name, "WADI_") && !ofCommandLine(name) {
			e.values[name] = value
		}
	}
	c := e.config()
	c.Upstreams, c.Mapped = upstreams, mapped
	for name := range e.values {
		e.complain(name, "there is no such setting")
	}
	slices.SortFunc(e.errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return c, e.errs
}

// ofCommandLine reports whether a setting is the command line's. A task of raw_exec has
// the whole environment of Nomad's agent, and so perhaps an operator's.
func ofCommandLine(name string) bool {
	switch name {
	case "WADI_ADDR", "WADI_CACERT", "WADI_CLIENT_CERT", "WADI_CLIENT_KEY", "WADI_TLS_SERVER_NAME":
		return true
	}
	return strings.HasPrefix(name, "WADI_VAR_")
}

// config converts every known name and takes it out of the values.
func (e *env) config() Config {
	c := Config{
		Service:  e.required("WADI_SERVICE"),
		Revision: e.required("WADI_REVISION"),
		Instance: e.take("WADI_INSTANCE"),
		Listen:   e.address("WADI_LISTEN"),
		Admin:    e.address("WADI_ADMIN"),
		Metrics:  e.address("WADI_METRICS"),
		Target:   e.address("WADI_TARGET"),
		Envoy:    e.optionalAddress("WADI_ENVOY"),
		Protocol: e.protocol("WADI_PROTOCOL"),
		Proof:    e.digest("WADI_PROOF_SHA256"),

		Limit:       e.number("WADI_CONCURRENCY_LIMIT", 0, 0, maxLimit),
		Depth:       e.number("WADI_QUEUE_DEPTH", 0, 0, maxLimit*depthPerLimit),
		MaxInFlight: e.number("WADI_MAX_IN_FLIGHT", maxInFlightFor(e.memory), 1, maxLimit),
		MaxHTTP2:    maxHTTP2For(e.memory),
		Timeout: wadi.Timeouts{
			Request:       wadi.Duration(e.duration("WADI_TIMEOUT_REQUEST", DefaultRequestTimeout, time.Millisecond)),
			ResponseStart: wadi.Duration(e.duration("WADI_TIMEOUT_RESPONSE_START", 0, 0)),
			Idle:          wadi.Duration(e.duration("WADI_TIMEOUT_IDLE", 0, 0)),
		},
		Probe:     e.probe("WADI_PROBE"),
		Quiet:     e.paths("WADI_QUIET"),
		History:   e.duration("WADI_HISTORY", DefaultHistory, time.Second),
		LogLevel:  e.level("WADI_LOG_LEVEL"),
		AccessLog: e.flag("WADI_ACCESS_LOG"),
		Shield:    e.flag("WADI_SHIELD"),
	}
	if c.Depth == 0 {
		c.Depth = depthPerLimit * c.Limit
	}
	if c.Shield && c.Envoy == "" {
		e.complain("WADI_SHIELD", "needs WADI_ENVOY: without the mesh callers come straight to the queue-proxy")
	}
	if c.History > maxHistory {
		e.complain("WADI_HISTORY", "must be at most %v", maxHistory)
	}
	c.Drain = e.duration("WADI_DRAIN_TIMEOUT", c.Timeout.Request.D(), time.Millisecond)
	if host, _, err := net.SplitHostPort(c.Admin); err == nil && !wadi.IsLoopback(host) {
		e.complain("WADI_ADMIN", "must be a loopback address, because it is not authenticated; got %q", c.Admin)
	}
	return c
}

// env holds the names that are not converted yet, and the errors.
type env struct {
	values map[string]string
	memory int // MiB of the task; 0: not known.
	errs   []error
}

func (e *env) complain(name, format string, args ...any) {
	e.errs = append(e.errs, fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...)))
}

func (e *env) take(name string) string {
	v := e.values[name]
	delete(e.values, name)
	return v
}

func (e *env) required(name string) string {
	v := e.take(name)
	if v == "" {
		e.complain(name, "is required")
	}
	return v
}

func (e *env) address(name string) string {
	return e.hostPort(name, e.required(name))
}

func (e *env) optionalAddress(name string) string { return e.hostPort(name, e.take(name)) }

func (e *env) hostPort(name, v string) string {
	if v == "" {
		return ""
	}
	_, port, err := net.SplitHostPort(v)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		e.complain(name, "must be host:port, got %q", v)
	}
	return v
}

// digest is a SHA-256; nil if there is none.
func (e *env) digest(name string) []byte {
	v := e.take(name)
	if v == "" {
		return nil
	}
	b, err := hex.DecodeString(v)
	if err != nil || len(b) != sha256.Size {
		e.complain(name, "must be a SHA-256 in hexadecimal digits")
		return nil
	}
	return b
}

func (e *env) protocol(name string) wadi.Protocol {
	v := wadi.Protocol(e.take(name))
	switch v {
	case "":
		return wadi.HTTP1
	case wadi.HTTP1, wadi.H2C, wadi.GRPC:
	default:
		e.complain(name, "must be http1, h2c or grpc, got %q", v)
	}
	return v
}

func (e *env) number(name string, def, low, high int) int {
	v := e.take(name)
	if v == "" {
		return def
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		e.complain(name, "must be a whole number from %d to %d, got %q", low, high, v)
		return def
	}
	return n
}

func (e *env) duration(name string, def, low time.Duration) time.Duration {
	v := e.take(name)
	if v == "" {
		return def
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		e.complain(name, "must be a duration such as 30s, got %q", v)
		return def
	}
	if d < low {
		e.complain(name, "must be at least %v, got %q", low, v)
		return def
	}
	return d
}

func (e *env) probe(name string) wadi.Probe {
	var p wadi.Probe
	if v := e.take(name); v != "" {
		if err := strictJSON(v, &p); err != nil {
			e.complain(name, "must be JSON such as {\"http\": \"/healthz\", \"timeout\": \"1s\"}: %v", err)
			return p
		}
	}
	if p.Timeout == 0 {
		p.Timeout = wadi.Duration(DefaultProbeTimeout)
	}
	kinds := 0
	for _, set := range []bool{p.HTTP != "", p.TCP, p.GRPC != nil} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		e.complain(name, "must hold one of http, tcp and grpc")
	case p.HTTP != "" && !isPath(p.HTTP):
		e.complain(name, "http must be a path that begins with /, got %q", p.HTTP)
	case p.Timeout < 0:
		e.complain(name, "timeout must be positive, got %v", p.Timeout)
	}
	return p
}

func (e *env) paths(name string) []string {
	v := e.take(name)
	if v == "" {
		return nil
	}
	var paths []string
	if err := strictJSON(v, &paths); err != nil {
		e.complain(name, "must be a JSON list of paths: %v", err)
		return nil
	}
	for _, p := range paths {
		if !isPath(p) {
			e.complain(name, "a path begins with /, got %q", p)
		}
	}
	return paths
}

func (e *env) level(name string) hclog.Level {
	v := e.take(name)
	if v == "" {
		return hclog.Info
	}
	level := hclog.LevelFromString(v)
	if level == hclog.NoLevel {
		e.complain(name, "must be trace, debug, info, warn, error or off, got %q", v)
	}
	return level
}

func (e *env) flag(name string) bool {
	v := e.take(name)
	if v == "" {
		return false
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		e.complain(name, "must be true or false, got %q", v)
	}
	return b
}

// strictJSON reads one value and nothing else, without unknown keys.
func strictJSON(s string, into any) error {
	dec := json.NewDecoder(bytes.NewBufferString(s))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if dec.More() {
		return fmt.Errorf("more than one value")
	}
	return nil
}

func isPath(s string) bool {
	_, err := url.ParseRequestURI(s)
	return err == nil && strings.HasPrefix(s, "/")
}
