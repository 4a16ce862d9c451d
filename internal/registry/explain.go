package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/wadi-run/wadi"
)

// resultOf is the label of an error; nil is ok.
func resultOf(err error) string {
	if err == nil {
		return resultOK
	}
	if e := (*Error)(nil); errors.As(err, &e) {
		return kinds()[e.Kind]
	}
	return resultCancelled
}

// explain makes an Error of whatever went wrong while a registry was asked.
func (s *session) explain(ctx context.Context, err error) error {
	own, address, said := (*Error)(nil), (*addressError)(nil), (*transport.Error)(nil)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &address):
		return s.refused(address)
	case errors.As(err, &said):
		return s.answered(said)
	case ctx.Err() != nil || timedOut(err):
		return problem(ErrUnavailable, fmt.Sprintf("%s did not answer within %s", s.whom(), s.l.Timeout),
			"see whether the agent's machine reaches it; images.timeout can be longer")
	}
	return s.unreachable(err)
}

// timedOut reports whether some part of a question took too long.
func timedOut(err error) bool {
	var late interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &late) && late.Timeout()
}

func (s *session) refused(e *addressError) error {
	if e.own {
		return problem(ErrRefusedAddress, e.Error(), "name another registry, or have the operator allow the network in images.allow_networks")
	}
	return problem(ErrRefusedAddress, fmt.Sprintf("its registry %s leads to %s", s.ref.Registry(), e),
		"have the operator allow the network in images.allow_networks, if that is meant")
}

// answered words an answer that is not the manifest.
func (s *session) answered(e *transport.Error) error {
	switch code := e.StatusCode; {
	case code == http.StatusNotFound:
		return s.notFound(e)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return s.unauthorized()
	case code == http.StatusTooManyRequests:
		return s.tooMany(s.quote(e))
	case code >= 500:
		return s.away(fmt.Sprintf("its registry %s answers %d%s", s.ref.Registry(), code, s.quote(e)))
	default:
		return problem(ErrMalformed, fmt.Sprintf("its registry %s answers %d%s", s.ref.Registry(), code, s.quote(e)), "see whether a registry is at that address")
	}
}

func (s *session) notFound(e *transport.Error) error {
	what := fmt.Sprintf("its registry %s has no such image or tag", s.ref.Registry())
	for _, d := range e.Errors {
		switch d.Code {
		case transport.NameUnknownErrorCode:
			what = fmt.Sprintf("its registry %s has no image %.200s", s.ref.Registry(), s.ref.Path())
		case transport.ManifestUnknownErrorCode:
			what = fmt.Sprintf("its registry %s has no tag %.130q of %.200s", s.ref.Registry(), s.ref.Tag, s.ref.Path())
		}
	}
	return problem(ErrNotFound, what, "check the name, or push the image")
}

// unauthorized says what to do. Registries hide by it which private images they have.
func (s *session) unauthorized() *Error {
	if s.login == (login{}) {
		return problem(ErrUnauthorized, fmt.Sprintf("its registry %s lets nobody read it without credentials, or has no such image", s.ref.Registry()),
			"check the name; the operator gives the agent credentials by images.docker_config, and Nomad's clients theirs by the docker plugin's auth")
	}
	return problem(ErrUnauthorized, fmt.Sprintf("its registry %s refuses the credentials, or has no such image", s.ref.Registry()),
		"check the name, then the credentials of the task's auth or of images.docker_config; Nomad's clients have theirs in the docker plugin's auth")
}

func (s *session) tooMany(quote string) *Error {
	e := problem(ErrTooManyRequests, fmt.Sprintf("its registry %s answers no more requests of this agent for now%s", s.ref.Registry(), quote),
		"submit it again later; credentials in images.docker_config usually allow more")
	if e.Again = retryTime(s.retryAfter, time.Now()); !e.Again.IsZero() {
		e.Remedy = fmt.Sprintf("submit it again after %s; credentials in images.docker_config usually allow more", e.Again.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	return e
}

// away is the registry's own trouble, which may have passed a moment later.
func (s *session) away(what string) *Error {
	e := problem(ErrUnavailable, what, "submit it again when the registry is well")
	e.passing = true
	return e
}

// whom names who was asked last: the registry, or where it leads to.
func (s *session) whom() string {
	if s.asked == "" || s.asked == s.host {
		return "its registry " + s.ref.Registry()
	}
	return fmt.Sprintf("%.100s, to which its registry %s leads,", wadi.OneLine(s.asked, 100), s.ref.Registry())
}

// unreachable says why there was no answer. The texts of the network's errors are not shown:
// they have addresses that are nobody's business.
func (s *session) unreachable(err error) error {
	var (
		dns       *net.DNSError
		unknownCA x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		host      x509.HostnameError
		cert      *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		whom      = s.whom()
	)
	say := func(what, remedy string) error {
		return problem(ErrUnavailable, fmt.Sprintf("%s %s", whom, what), remedy)
	}
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return say("has no address: its name is unknown", "check the name; the agent's machine resolves it")
	case errors.As(err, &dns):
		return say("has no address: the agent's machine can't resolve names now", "see its /etc/resolv.conf")
	case errors.As(err, &unknownCA):
		return say("has a certificate of an unknown authority", "name the authority in images.ca_file or images.certs_dir")
	case errors.As(err, &host):
		return say("has a certificate for another name", "mend the certificate, or use its name")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return say("has a certificate that has expired, or is not yet good", "renew it; see the clocks")
	case errors.As(err, &cert), errors.As(err, &invalid):
		return say("has a certificate that is not good", "mend it, or name its authority in images.ca_file")
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return say("speaks no TLS", "serve it by https, or have the operator name it in images.insecure_registries")
	case errors.Is(err, syscall.ECONNREFUSED):
		return say("can't be reached: the connection is refused", "see whether it runs, and its port")
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return say("can't be reached: there is no way to it", "see whether the agent's machine reaches it")
	}
	if !errors.As(err, new(*url.Error)) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, new(net.Error)) { // The library's own.
		return problem(ErrMalformed, fmt.Sprintf("what %s answers is no manifest", whom), "see whether a registry is at that address")
	}
	e := problem(ErrUnavailable, fmt.Sprintf("%s broke off, or speaks no HTTP", whom), "see whether a registry is at that address")
	e.passing = true
	return e
}

// codeRule is the form of a registry's codes.
var codeRule = regexp.MustCompile(`^[A-Z][A-Z_]{1,39}$`)

// maxQuote bounds the words of a registry that are shown, in characters.
const maxQuote = 120

// quote is the code and message of an answer, or nothing. A registry that repeats what it was
// sent does not show it.
func (s *session) quote(e *transport.Error) string {
	for _, d := range e.Errors {
		if !codeRule.MatchString(string(d.Code)) {
			continue
		}
		text := d.Message
		for _, secret := range append(s.login.secrets(), strings.TrimPrefix(s.authorization, "Bearer ")) {
			if secret != "" && strings.Contains(text, secret) {
				text = ""
			}
		}
		return fmt.Sprintf(" (%s)", strings.TrimSuffix(wadi.OneLine(string(d.Code)+": "+text, maxQuote), ": "))
	}
	return ""
}
