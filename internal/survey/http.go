package survey

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

// askTimeout bounds one question.
const askTimeout = 10 * time.Second

// The headers in which Nomad and Consul expect a token.
const (
	NomadToken  = "X-Nomad-Token"
	ConsulToken = "X-Consul-Token"
)

// Config is how to reach a Nomad or a Consul.
type Config struct {
	Address string        // http://, https:// or unix://.
	Header  string        // NomadToken or ConsulToken.
	Token   func() string // Nil: none. It is called for each question, as tokens are renewed.
	Region  string        // Nomad's; empty: that of the agent at Address.

	CAFile, CertFile, KeyFile string
	ServerName                string // In the certificate; empty: the host of Address.
	SkipVerify                bool
}

// HTTP reads by plain HTTP. Make it with New.
type HTTP struct {
	client *http.Client
	base   string
	cfg    Config
}

var _ Reader = (*HTTP)(nil)

// New returns a reader. It does no I/O except reading the certificate files.
func New(c Config) (*HTTP, error) {
	u, err := url.Parse(c.Address)
	if err != nil || u.Scheme != "unix" && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return nil, fmt.Errorf("%q is not an address such as http://127.0.0.1:4646", c.Address)
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: askTimeout, MaxIdleConnsPerHost: 2}
	if t.TLSClientConfig, err = tlsConfig(c); err != nil {
		return nil, err
	}
	base := strings.TrimRight(c.Address, "/")
	if u.Scheme == "unix" {
		base = "http://socket"
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", u.Path)
		}
	}
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // It would carry the token elsewhere.
	return &HTTP{client: &http.Client{Transport: t, CheckRedirect: noRedirect}, base: base, cfg: c}, nil
}

func tlsConfig(c Config) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName, InsecureSkipVerify: c.SkipVerify}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the CA: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read the CA: no certificate in %s", c.CAFile)
		}
	}
	if c.CertFile != "" || c.KeyFile != "" {
		cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read the client certificate: %w", err)
		}
		t.Certificates = []tls.Certificate{cert}
	}
	return t, nil
}

// Close closes idle connections.
func (h *HTTP) Close() { h.client.CloseIdleConnections() }

// Read implements Reader.
func (h *HTTP) Read(ctx context.Context, path string, out any) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.base+path, nil)
	if err != nil {
		return time.Time{}, err
	}
	if token := h.token(); token != "" {
		req.Header.Set(h.cfg.Header, token)
	}
	if h.cfg.Region != "" {
		q := req.URL.Query()
		q.Set("region", h.cfg.Region)
		req.URL.RawQuery = q.Encode()
	}
	resp, err := h.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // Without the path, which is the question's.
		}
		return time.Time{}, fmt.Errorf("%w: %w", wadi.ErrUnavailable, err)
	}
	defer func() { _ = resp.Body.Close() }()
	return Decode(resp, out)
}

// maxErrorText bounds the text of a refusal, in characters.
const maxErrorText = 300

// Decode reads an answer of Nomad or Consul. The error wraps the root package's sentinel
// that fits, and has the answer's own text on one line.
func Decode(resp *http.Response, out any) (time.Time, error) {
	date, _ := http.ParseTime(resp.Header.Get("Date")) // Zero where there is none.
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4*maxErrorText)) // What was read of it is shown.
		return date, refusal(resp.StatusCode, wadi.OneLine(strings.TrimSpace(string(text)), maxErrorText))
	}
	body := &io.LimitedReader{R: resp.Body, N: MaxAnswer + 1}
	err := json.NewDecoder(body).Decode(out)
	switch {
	case body.N <= 0:
		return date, fmt.Errorf("the answer is larger than %d MiB: %w", MaxAnswer>>20, wadi.ErrTooLarge)
	case err != nil:
		return date, fmt.Errorf("the answer is not the JSON that Nomad or Consul send: %w", err)
	}
	return date, nil
}

// refusal is the error of an answer. Client agents pass a server's refusal on as an error of
// their own, with status 500.
func refusal(status int, text string) error {
	kind := wadi.ErrorOfStatus(status)
	if strings.Contains(text, "Permission denied") || strings.Contains(text, "token not found") || strings.Contains(text, "ACL not found") {
		kind = wadi.ErrForbidden
	}
	if kind == nil {
		return fmt.Errorf("status %d: %s", status, text)
	}
	return fmt.Errorf("%w: %s", kind, text)
}

func (h *HTTP) token() string {
	if h.cfg.Token == nil {
		return ""
	}
	return h.cfg.Token()
}
