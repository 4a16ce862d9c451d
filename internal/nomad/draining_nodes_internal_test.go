package nomad

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/api"
)

// While no node changes, Nomad leaves the query unanswered for its whole wait, and
// somewhat longer. That is no failure.
func TestNodes_QuietCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		var begun atomic.Int64
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if index := r.URL.Query().Get("index"); index == "" || index == "0" {
				begun.Add(1)
			} else {
				wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
				select {
				case <-time.After(wait + wait/16):
				case <-r.Context().Done():
					return
				}
			}
			w.Header().Set("X-Nomad-Index", "7")
			_, _ = fmt.Fprint(w, `[{"ID":"drained","Drain":true}]`)
		})}
		served := make(chan error)
		go func() { served <- server.Serve(network) }()
		u := &url.URL{Scheme: "http", Host: "nomad"}
		hc, err := httpClient(u, Config{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		hc.Transport.(*retryRefused).next.(*retryBusy).next.(*http.Transport).DialContext = network.dial
		a, err := api.NewClient(&api.Config{Address: u.String(), HttpClient: hc})
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		n := &Nodes{Client: clientOf(&connection{api: a, streams: a}), Log: hclog.New(&hclog.LoggerOptions{Output: &log})}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- n.Run(ctx) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if begun.Load() != 1 || !n.Draining()["drained"] {
			t.Errorf("it began %d times and knows %v, want once and one", begun.Load(), n.Draining())
		}
		cancel()
		if err := <-ran; err != nil || log.Len() > 0 {
			t.Errorf("it ended with %v and said %s", err, &log)
		}
		hc.CloseIdleConnections()
		_ = server.Close()
		<-served
	})
}
