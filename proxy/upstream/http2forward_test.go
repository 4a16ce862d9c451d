package upstream_test

import (
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/proxytest"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// Fields that the caller of Forward has set are the final answer's: they neither come with an
// informational answer nor are lost by it.
func TestForward_InformationalAnswersLeaveTheHeader(t *testing.T) {
	each(t, func(t *testing.T, p wadi.Protocol, c *http.Client) {
		app := proxytest.Serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</style.css>")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Set-Cookie", "of=app")
			w.WriteHeader(http.StatusOK)
		})
		u := upstream.New(upstream.Config{Addr: app, Protocol: p, Dial: proxytest.Dialer(app)})
		t.Cleanup(u.Close)
		addr := proxytest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Set-Cookie", "of=gateway")
			if err := u.Forward(w, r); err != nil {
				t.Error(err)
			}
		})
		var hints http.Header
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(_ int, h textproto.MIMEHeader) error { hints = http.Header(h); return nil },
		})
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr, nil)
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if diff := cmp.Diff([]string{"of=gateway", "of=app"}, res.Header["Set-Cookie"]); diff != "" {
			t.Errorf("of the answer (-want +got):\n%s", diff)
		}
		if hints.Get("Link") == "" || hints["Set-Cookie"] != nil {
			t.Errorf("the hints are %v", hints)
		}
	})
}
