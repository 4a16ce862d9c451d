package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/wadi-run/wadi/internal/imageref"
)

const (
	maxRequests  = 20        // Of one session, with logging in and redirects.
	maxRedirects = 5         // Of one request.
	maxBody      = 4 << 20   // Bytes of a manifest, as Docker's own registry bounds it.
	maxHeaders   = 64 << 10  // Bytes of an answer's headers.
	maxToken     = 256 << 10 // Bytes of an answer with a token.
	maxDial      = 5 * time.Second
)

// session asks one registry about one image. It is the transport below the library that
// speaks the registry's protocol: it logs in, follows redirects and keeps the bounds. It shares
// no connection: whether an address may be dialled depends on the image.
type session struct {
	l     *loaded
	ref   imageref.Image
	host  string // Of the registry, with a port if the name has one.
	login login
	dns   *net.Resolver // Nil: the machine's.

	plain         bool   // The registry speaks HTTP.
	authorization string // For the registry; empty: not logged in.
	retryAfter    string // Of the last answer that said "too many requests".
	asked         string // Host of the last request.
	requests      int
	transports    map[string]*http.Transport // By host.
}

// apiHost is where the API of an image's registry is.
func apiHost(registry string) string {
	if registry == "docker.io" {
		return "index.docker.io"
	}
	return registry
}

func newSession(l *loaded, ref imageref.Image, as login) *session {
	s := &session{l: l, ref: ref, host: strings.ToLower(apiHost(ref.Registry())), login: as, transports: map[string]*http.Transport{}}
	if as.registryToken != "" {
		s.authorization = "Bearer " + as.registryToken
	}
	return s
}

// RoundTrip implements http.RoundTripper for requests to the registry. It logs in if the
// registry wants that, and returns what the last of the redirects answers.
func (s *session) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := s.ask(r)
	if err != nil || answer.StatusCode != http.StatusUnauthorized || s.authorization != "" || !s.isRegistry(answer.Request.URL) {
		return answer, err
	}
	c, ok := choose(challenges(answer.Header.Values("WWW-Authenticate")))
	if !ok {
		return answer, nil
	}
	_ = answer.Body.Close()
	if err := s.logIn(r.Context(), c); err != nil {
		return nil, err
	}
	return s.ask(r)
}

// ask sends a request to the registry. A registry that may speak HTTP is asked by HTTPS first,
// as Docker does.
func (s *session) ask(r *http.Request) (*http.Response, error) {
	own := r.Clone(r.Context())
	own.URL.Scheme, own.URL.Host, own.Host = "https", s.host, ""
	if s.plain {
		own.URL.Scheme = "http"
	}
	if s.authorization != "" {
		own.Header.Set("Authorization", s.authorization)
	}
	answer, err := s.follow(own)
	if err == nil || s.plain || !s.l.mayPlain(s.host) || r.Context().Err() != nil || s.requests > 1 || errors.As(err, new(*addressError)) {
		return answer, err
	}
	s.plain = true
	return s.ask(r)
}

// isRegistry reports whether a URL is of the registry that is asked.
func (s *session) isRegistry(u *url.URL) bool {
	return strings.EqualFold(u.Host, s.host) && (u.Scheme == "http") == s.plain
}

// follow sends a GET or HEAD, and follows redirects. What proves who asks goes to no other
// host, port or scheme.
func (s *session) follow(r *http.Request) (*http.Response, error) {
	for hop := 0; ; hop++ {
		answer, err := s.send(r)
		if err != nil || !isRedirect(answer.StatusCode) {
			return answer, err
		}
		_ = answer.Body.Close()
		to, err := r.URL.Parse(answer.Header.Get("Location"))
		if err != nil || to.Host == "" || answer.Header.Get("Location") == "" {
			return nil, problem(ErrMalformed, "its registry redirects to what is no address", "")
		}
		if hop == maxRedirects {
			return nil, problem(ErrMalformed, fmt.Sprintf("its registry redirects more than %d times", maxRedirects), "")
		}
		next := r.Clone(r.Context())
		next.URL, next.Host = to, ""
		if to.Scheme != r.URL.Scheme || !strings.EqualFold(to.Host, r.URL.Host) {
			next.Header.Del("Authorization")
		}
		r = next
	}
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// send sends one request. The body of the answer ends with an error at its bound.
func (s *session) send(r *http.Request) (*http.Response, error) {
	if s.requests++; s.requests > maxRequests {
		return nil, problem(ErrMalformed, fmt.Sprintf("its registry wants more than %d requests", maxRequests), "")
	}
	switch {
	case r.URL.Scheme == "https":
	case r.URL.Scheme != "http":
		return nil, problem(ErrRefusedAddress, fmt.Sprintf("its registry leads to an address that is neither https nor http: %.20q", r.URL.Scheme), "")
	case !s.l.mayPlain(strings.ToLower(r.URL.Host)):
		return nil, problem(ErrRefusedAddress, fmt.Sprintf("its registry leads to %.100q by plain http", r.URL.Host),
			"serve it by https, or have the operator name it in images.insecure_registries")
	}
	t, err := s.transport(strings.ToLower(r.URL.Host))
	if err != nil {
		return nil, problem(ErrUnavailable, fmt.Sprintf("the certificates for %.100q can't be used: %s", r.URL.Host, err), "mend images.certs_dir on the agent")
	}
	s.asked = strings.ToLower(r.URL.Host)
	r.Header.Set("User-Agent", "wadi")
	answer, err := t.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusTooManyRequests {
		s.retryAfter = answer.Header.Get("Retry-After")
	}
	answer.Request = r
	answer.Body = &bounded{ReadCloser: answer.Body, left: maxBody}
	return answer, nil
}

// transport is that for a host. No proxy of the environment is used: the address that is
// dialled would be that of the proxy.
func (s *session) transport(host string) (*http.Transport, error) {
	if t := s.transports[host]; t != nil {
		return t, nil
	}
	c, err := s.l.tlsConfig(host)
	if err != nil {
		return nil, err
	}
	within := min(maxDial, s.l.Timeout/2)
	t := &http.Transport{
		DialContext: s.dial(host, within), TLSClientConfig: c, TLSHandshakeTimeout: within, ForceAttemptHTTP2: true,
		DisableCompression: true, MaxResponseHeaderBytes: maxHeaders,
		DisableKeepAlives: true, // net/http writes what a server sends on an idle connection to the log.
	}
	s.transports[host] = t
	return t, nil
}

// dial connects to a host, and judges each of its addresses in the moment in which it is
// dialled: a name may lead elsewhere each time that it is resolved.
func (s *session) dial(host string, within time.Duration) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, hostport string) (net.Conn, error) {
		d := &net.Dialer{Timeout: within, Resolver: s.dns, Control: func(_, address string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			return s.l.checkAddress(hostOf(host), a.Addr(), s.isOwn(hostport))
		}}
		return d.DialContext(ctx, network, hostport)
	}
}

// isOwn reports whether a host and port are those of the registry that the image names.
func (s *session) isOwn(hostport string) bool {
	if _, _, err := net.SplitHostPort(s.host); err == nil {
		return strings.EqualFold(hostport, s.host)
	}
	port := "443"
	if s.plain {
		port = "80"
	}
	return strings.EqualFold(hostport, net.JoinHostPort(hostOf(s.host), port))
}

// bounded is a body that fails at its bound.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, problem(ErrMalformed, fmt.Sprintf("its registry's answer has more than %d bytes", maxBody), "")
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
