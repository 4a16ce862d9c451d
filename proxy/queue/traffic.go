package queue

import (
	"net/http"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/framing"
)

// trafficHandler answers probes and what is not meant for this instance, and
// passes everything else on to the app.
func (p *Proxy) trafficHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		draining := p.drain.HasBegun()
		if draining && r.ProtoMajor == 1 && r.Header["Upgrade"] == nil {
			w.Header().Set("Connection", "close") // The next one goes elsewhere. For HTTP/2 see goAway.
		}
		if r.ProtoMajor != 1 { // Of HTTP/1 the listener has judged, before anything was read of it.
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

// isMeant says whether a request is for this instance, as far as it says. A
// splitter names service and revision only, an activator the instance too. The
// names in a header are canonical, as these are.
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

// allAre says whether all the values of a header are empty or own.
func allAre(values []string, own string) bool {
	for _, v := range values {
		if v != "" && v != own {
			return false
		}
	}
	return true
}
