package registry_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/wadi-run/wadi/internal/registry"
)

// bearer wants a token of a realm.
func bearer(realm func() string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer good" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s",service="reg",scope="repository:other/secret:pull,push"`, realm()))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		manifest(w, r)
	}
}

// A realm at an address to which a registry may not lead gets nothing, whatever its form.
func TestAttack_Realms(t *testing.T) {
	victim := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"token": "good"}`)) })
	_, port, _ := net.SplitHostPort(victim.host)
	for _, realm := range []string{
		victim.URL + "/v1/agent/self", "http://localhost:" + port + "/", "http://[::1]:" + port + "/", "https://169.254.169.254/latest/api/token", "https://10.0.0.1/",
		"http://192.168.1.1/", "http://example.com/token", "", "/relative", "mailto:a@b", "https://", "https:opaque", "http://" + victim.host + "@" + victim.host + "/", "https://a b/", "://", "unix:///run/x",
	} {
		f := serve(t, bearer(func() string { return realm }))
		_, err := resolve(t, resolver(t, registry.Settings{}), f.image(), own)
		if !errors.Is(err, registry.ErrRefusedAddress) && !errors.Is(err, registry.ErrMalformed) {
			t.Errorf("%q: %v", realm, err)
		}
	}
	if got := victim.requests(); len(got) > 0 {
		t.Errorf("another port of this machine got %d requests", len(got))
	}
}

// A token is asked for with the credentials, for one image and to pull alone.
func TestToken(t *testing.T) {
	for _, as := range []registry.Credentials{{}, own} {
		var f *fake
		h := bearer(func() string { return f.URL + "/token?account=a" })
		f = serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				_, _ = w.Write([]byte(`{"access_token": "good"}`))
				return
			}
			h(w, r)
		})
		if got, err := resolve(t, resolver(t, registry.Settings{}), f.image(), as); got != digest || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
		r := f.requests()[1]
		user, password, sent := r.BasicAuth()
		if want := "account=a&scope=repository%3Ateam%2Fweb%3Apull&service=reg"; r.URL.RawQuery != want || sent != (as == own) || sent && (user != "wadi" || password != secret) {
			t.Errorf("asked %s as %q", r.URL, user)
		}
	}
}

// As with Docker, the registry's token service may be elsewhere, and gets the credentials; a
// redirect of it gets none.
func TestToken_OfAnotherHost(t *testing.T) {
	last := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"token": "good"}`)) })
	realm := serve(t, to(last.URL+"/there"))
	f := serve(t, bearer(func() string { return realm.URL + "/token" }))
	if got, err := resolve(t, resolver(t, registry.Settings{AllowNetworks: ownMachine}), f.image(), own); got != digest || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, p, _ := realm.requests()[0].BasicAuth(); p != secret {
		t.Error("the token service got no credentials")
	}
	if h := last.requests()[0].Header.Get("Authorization"); h != "" {
		t.Errorf("where it redirects to got %q", h)
	}
}

func dockerFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "docker.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// An identity token goes to the token service in a form, and not where that redirects to.
func TestToken_Identity(t *testing.T) {
	for _, redirects := range []bool{false, true} {
		other := serve(t, manifest)
		var f *fake
		h := bearer(func() string { return f.URL + "/token" })
		f = serve(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path != "/token":
				h(w, r)
			case redirects:
				to(other.URL)(w, r)
			case r.Method != http.MethodPost || r.FormValue("refresh_token") != secret || r.FormValue("grant_type") != "refresh_token" || r.FormValue("scope") != "repository:team/web:pull":
				w.WriteHeader(http.StatusBadRequest)
			default:
				_, _ = w.Write([]byte(`{"access_token": "good"}`))
			}
		})
		c := dockerFile(t, `{"auths": {"`+f.host+`": {"identitytoken": "`+secret+`"}}}`)
		got, err := resolve(t, resolver(t, registry.Settings{DockerConfig: c, AllowNetworks: ownMachine}), f.image(), registry.Credentials{})
		if !redirects && (got != digest || err != nil) {
			t.Errorf("got %q, %v", got, err)
		}
		if redirects {
			wantKind(t, err, registry.ErrMalformed)
		}
		if len(other.requests()) > 0 {
			t.Error("the form was sent elsewhere")
		}
	}
}

// A token that could split a header, and other nonsense, is none.
func TestAttack_Tokens(t *testing.T) {
	for _, body := range []string{`{"token": "a\r\nX-Evil: 1"}`, `{"token": ""}`, `{}`, `[]`, `"x"`, ``, `{"token": 5}`, `{"token": "é"}`, `null`} {
		var f *fake
		h := bearer(func() string { return f.URL + "/token" })
		f = serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				_, _ = w.Write([]byte(body))
				return
			}
			h(w, r)
		})
		_, err := resolve(t, resolver(t, registry.Settings{}), f.image(), own)
		wantKind(t, err, registry.ErrMalformed, "no token")
	}
}

// What is away is named: the token service, not the registry.
func TestToken_ServiceAway(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	f := serve(t, bearer(func() string { return "http://" + gone.Addr().String() + "/token" }))
	_, err = resolve(t, resolver(t, registry.Settings{AllowNetworks: ownMachine}), f.image(), own)
	wantKind(t, err, registry.ErrUnavailable, gone.Addr().String()+", to which its registry "+f.host+" leads, can't be reached")
	for status, kind := range map[int]error{
		401: registry.ErrUnauthorized, 403: registry.ErrUnauthorized, 400: registry.ErrUnauthorized, 404: registry.ErrMalformed,
		429: registry.ErrTooManyRequests, 500: registry.ErrUnavailable, 204: registry.ErrMalformed,
	} {
		f = serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				w.WriteHeader(status)
				return
			}
			bearer(func() string { return f.URL + "/token" })(w, r)
		})
		_, err := resolve(t, resolver(t, registry.Settings{}), f.image(), own)
		wantKind(t, err, kind, f.host)
	}
}
