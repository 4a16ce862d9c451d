package admissiontest

import (
	"encoding/json"
	"time"

	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/jobspecs"
)

// MaxBytes is the bound of what New's admission takes.
const MaxBytes = 64 << 10

// Now is the time of New's admission, in Unix seconds.
const Now = 1700000000

// New returns a real admission among stand-ins.
func New(n *Nomad, s *Store, c Catalog) (*admission.Admission, error) {
	return admission.New(admission.Config{
		Store: s, Nomad: n, Catalog: c, Intentions: n, MaxBytes: MaxBytes, GatewayDomain: "wadi.localhost",
		Agent: jobspecs.Agent{
			QueueProxyTask: json.RawMessage(`{"Driver": "raw_exec", "Config": {"command": "queue-proxy"}}`),
		},
		Now: func() time.Time { return time.Unix(Now, 0) },
	})
}
