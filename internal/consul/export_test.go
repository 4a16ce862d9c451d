package consul

import (
	"net/http"
	"testing"

	"github.com/hashicorp/consul/api"
)

// NewForTest returns a client whose requests go to rt.
func NewForTest(tb testing.TB, rt http.RoundTripper) *Client {
	client := &http.Client{Transport: rt}
	c, err := api.NewClient(&api.Config{Address: "http://consul", HttpClient: client})
	if err != nil {
		tb.Fatal(err)
	}
	out := &Client{}
	out.current.Store(&connection{api: c, http: client, base: "http://consul"})
	return out
}

// MaxPrompt is maxPrompt.
const MaxPrompt = maxPrompt
