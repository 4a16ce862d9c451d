package queue

import (
	"net/http"
	"time"

	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/stats"
)

// Starting implements [recording.Starter]: it notes when the answer begins.
func (x *request) Starting(status int) {
	x.latency = time.Since(x.began)
	x.response.Starting(status)
}

// leave ends the counting of a request that has taken so long, with its outcome if that is the
// revision's.
func (p *Proxy) leave(x *request, r *http.Request, took time.Duration) {
	switch c := outcome(x, r); c {
	case 0:
		p.recorder.Leave(x.proxied)
	case stats.CallerGone:
		p.recorder.LeaveAnswered(x.proxied, c, took)
	default:
		p.recorder.LeaveAnswered(x.proxied, c, x.latency)
	}
}

// outcome is what the caller of a request has got, also from the queue-proxy itself; 0: it is no outcome
// of this revision, as another instance takes the request, or it is a copy.
//
// A caller that leaves before an answer has begun is no error of the revision; one that leaves
// later has got the status. An answer that the app breaks off is an error whatever its status
// was. One that was cut by a limit of time counts by its status: streams end in that way.
func outcome(x *request, r *http.Request) stats.Code {
	switch {
	case x.mirrored, x.reason != "" && x.Status == http.StatusMisdirectedRequest:
		return 0
	case x.reason != "":
		return stats.HTTP(x.Status) // Of a gRPC call too, whose HTTP status is 200.
	case x.Status == 0:
		return stats.CallerGone
	case x.Status == http.StatusSwitchingProtocols:
		return stats.HTTP(x.Status)
	case !x.isWhole && !x.failed && r.Context().Err() == nil && !x.tracker.Expired():
		return stats.HTTP(http.StatusBadGateway)
	case x.Status != http.StatusOK || r.ProtoMajor == 1:
		return stats.HTTP(x.Status)
	}
	if status := stats.GRPCStatus(x.Header()); status != "" {
		return stats.GRPC(status)
	}
	if x.isWhole && proxy.IsGRPC(r) {
		return stats.GRPC(grpcInternal)
	}
	return stats.HTTP(x.Status)
}

// grpcInternal is what a client makes of an answer that ends without a status.
const grpcInternal = "13"
