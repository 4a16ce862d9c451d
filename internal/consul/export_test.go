package consul

import (
	"net/http"
	"testing"

	"github.com/hashicorp/consul/api"
)

// NewForTest returns a client whose requests go to rt.
func NewForTest(tb testing.TB, rt http.RoundTripper) *Client {
	c, err := api.NewClient(&api.Config{Address: "http://consul", HttpClient: &http.Client{Transport: rt}})
	if err != nil {
		tb.Fatal(err)
	}
	return &Client{api: c}
}
