package containers

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
)

const tokenPath = "/token"

// issued is the one token of this process's registries.
var issued = rand.Text()

// allowed reports whether a request may pull.
func (r *Registry) allowed(req *http.Request) bool {
	if r.options.Token {
		return equal(req.Header.Get("Authorization"), "Bearer "+issued)
	}
	return r.credentials(req)
}

// credentials reports whether a request has the credentials that are asked for, if any.
func (r *Registry) credentials(req *http.Request) bool {
	if r.options.Username == "" {
		return true
	}
	user, password, _ := req.BasicAuth()
	return equal(user, r.options.Username) && equal(password, r.options.Password)
}

func (r *Registry) challenge(w http.ResponseWriter, req *http.Request) {
	how := `Basic realm="test"`
	if r.options.Token {
		how = fmt.Sprintf(`Bearer realm="%s%s",service="test"`, r.server.URL, tokenPath)
	}
	w.Header().Set("WWW-Authenticate", how)
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

func (r *Registry) serveToken(w http.ResponseWriter, req *http.Request) {
	if !r.options.Token || !r.credentials(req) {
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "wrong user or password")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": issued, "expires_in": 300}) // Fails only if the caller is gone.
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
