package queue

import (
	"net/http"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/framing"
)

// trafficHandler answers probes and requests for other instances, and passes all others
// to the app.
func (p *Proxy) trafficHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		draining := p.drain.HasBegun()
		if draining && r.ProtoMajor == 1 && r.Header["Upgrade"] == nil {
			w.Header().Set("Connection", "close") // The caller's next request goes elsewhere. HTTP/2 has package conns' GOAWAY.
		}
		if r.ProtoMajor != 1 { // The listener has checked HTTP/1 already.
			if why := framing.CheckHTTP2(r); why != framing.None {
				p.refuseMalformed(w, r, why)
				return
			}
		}
		switch probed := first(r.Header[wadi.HeaderProbe]); {
		case probed != "":
			p.answerProbe(w, r, probed)
		case !p.isMeant(r.Header):
			p.answerMisdirected(w, r)
		default:
			if draining {
				p.drain.Saw()
			}
			p.serve(w, r)
		}
	})
}

// isMeant reports whether a request is for this instance, by the headers that it has: a
// splitter sets service and revision only, an activator the instance too. The keys are
// canonical, as in h.
func (p *Proxy) isMeant(h http.Header) bool {
	return allAre(h[wadi.HeaderService], p.cfg.Service) &&
		allAre(h[wadi.HeaderRevision], p.cfg.Revision) &&
		allAre(h[wadi.HeaderInstance], p.cfg.Instance)
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// allAre reports whether every value of a header is empty or own.
func allAre(values []string, own string) bool {
	for _, v := range values {
		if v != "" && v != own {
			return false
		}
	}
	return true
}
