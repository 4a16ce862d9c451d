package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// login is what a registry is asked with. The zero value is nobody.
type login struct {
	username, password string
	identityToken      string // For which the registry's token service gives tokens.
	registryToken      string // Which the registry takes itself.
}

// secrets are the texts that nobody may see.
func (l login) secrets() []string {
	return []string{l.password, l.identityToken, l.registryToken, base64.StdEncoding.EncodeToString([]byte(l.username + ":" + l.password))}
}

func (l login) hasPassword() bool { return l.username != "" && l.password != "" }

// logIn does what a challenge of the registry wants.
func (s *session) logIn(ctx context.Context, c challenge) error {
	if c.scheme == "basic" {
		if !s.login.hasPassword() {
			return s.unauthorized()
		}
		s.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(s.login.username+":"+s.login.password))
		return nil
	}
	token, err := s.token(ctx, c)
	if err != nil {
		return err
	}
	s.authorization = "Bearer " + token
	return nil
}

// token asks the token service that the registry names. As with Docker and containerd it may
// be at any host: the registry decides who makes its tokens, and gets the credentials anyway.
func (s *session) token(ctx context.Context, c challenge) (string, error) {
	r, err := s.tokenRequest(ctx, c)
	if err != nil {
		return "", err
	}
	var answer *http.Response
	if r.Method == http.MethodPost {
		answer, err = s.send(r) // A redirect would repeat the body elsewhere.
	} else {
		answer, err = s.follow(r)
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	switch code := answer.StatusCode; {
	case code == http.StatusOK:
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusBadRequest && s.login != login{}:
		return "", s.unauthorized()
	case code == http.StatusTooManyRequests:
		return "", s.tooMany("")
	case code >= 500:
		return "", s.away(fmt.Sprintf("the token service of its registry %s answers %d", s.ref.Registry(), code))
	default:
		return "", problem(ErrMalformed, fmt.Sprintf("the token service of its registry %s answers %d", s.ref.Registry(), code), "")
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxToken+1))
	if err != nil {
		return "", err
	}
	var said struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if json.Unmarshal(text, &said) != nil || len(text) > maxToken {
		return "", problem(ErrMalformed, "what the token service of its registry answers is no token", "")
	}
	token := said.Token
	if token == "" {
		token = said.AccessToken
	}
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", problem(ErrMalformed, "what the token service of its registry answers is no token", "")
	}
	return token, nil
}

// tokenRequest is the request for a token that may pull the image, and nothing else.
func (s *session) tokenRequest(ctx context.Context, c challenge) (*http.Request, error) {
	realm, err := url.Parse(c.params["realm"])
	if err != nil || realm.Host == "" || realm.User != nil || realm.Opaque != "" {
		return nil, problem(ErrMalformed, "its registry names no token service that could be asked", "")
	}
	realm.Fragment = ""
	scope := "repository:" + s.ref.Path() + ":pull"
	if s.login.identityToken != "" {
		form := url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {s.login.identityToken},
			"client_id": {"wadi"}, "service": {c.params["service"]}, "scope": {scope},
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
		if err != nil {
			return nil, problem(ErrMalformed, "its registry names no token service that could be asked", "")
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return r, nil
	}
	query := realm.Query()
	query.Set("scope", scope)
	if service := c.params["service"]; service != "" {
		query.Set("service", service)
	}
	realm.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, realm.String(), nil)
	if err != nil {
		return nil, problem(ErrMalformed, "its registry names no token service that could be asked", "")
	}
	if s.login.hasPassword() {
		r.SetBasicAuth(s.login.username, s.login.password)
	}
	return r, nil
}
