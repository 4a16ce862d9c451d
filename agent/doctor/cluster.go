package doctor

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/survey"
)

const (
	clusterTimeout = 8 * time.Second // Of all questions about the cluster together.
	clusterAge     = 5 * time.Second // For which the answers are served again.
)

// Cluster examines what all agents share: Nomad's nodes, the mesh, clocks, and what belongs
// to no service. One agent does it for all, when a caller of its API asks. Set all fields
// before the first call.
type Cluster struct {
	// Readers read from Nomad and Consul. They are made anew each time, as tokens and
	// certificates change.
	Readers func() (nomad, consul *survey.HTTP, err error)
	Needs   func() Needs

	// Stray finds what Wadi wrote and no service has.
	Stray func(ctx context.Context) ([]Stray, error)
	Log   hclog.Logger

	mu   sync.Mutex
	at   time.Time
	last []wadi.Finding

	logging sync.Mutex
	logged  map[Kind][]string // Names as they were logged last. Guarded by logging.
}

// findings examines the cluster, or returns what was found just before.
func (c *Cluster) findings(ctx context.Context) []wadi.Finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) < clusterAge {
		return c.last
	}
	// The findings are for all callers, so they outlive the one that is here first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clusterTimeout)
	defer cancel()
	c.last = c.examine(ctx)
	c.at = time.Now()
	return c.last
}

func (c *Cluster) examine(ctx context.Context) []wadi.Finding {
	var ofNomad, ofConsul, stray []wadi.Finding
	needs := c.Needs()
	readNomad, readConsul, err := c.Readers()
	if err != nil {
		return []wadi.Finding{{Level: wadi.LevelFail, About: "agent", What: "the cluster can't be examined: " + err.Error(), Remedy: "mend what the configuration names"}}
	}
	defer readNomad.Close()
	defer readConsul.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		n, err := survey.AskNomad(ctx, readNomad)
		if err != nil {
			return // The agent's own report has it.
		}
		clocks := survey.NodeClocks(ctx, readNomad, n.Nodes.Value.Ready)
		ofNomad = append(aboutNodes(n.Nodes, needs), aboutNomadClients(n)...)
		ofNomad = append(ofNomad, aboutOldNomad(n)...)
		ofNomad = append(ofNomad, aboutKillTimeout(n.Agent, needs)...)
		ofNomad = append(ofNomad, c.checkPulls(ctx, readNomad, n, needs)...)
		ofNomad = append(ofNomad, aboutClock(aboutNomad, n.Clock)...)
		ofNomad = append(ofNomad, aboutNodeClocks(clocks)...)
	})
	wg.Go(func() {
		if s, err := survey.AskConsul(ctx, readConsul); err == nil {
			ofConsul = append(aboutMesh(s, needs, time.Now()), aboutClock(aboutConsul, s.Clock)...)
			ofConsul = append(ofConsul, aboutOldConsul(s)...)
		}
	})
	wg.Go(func() { stray = c.checkStray(ctx) })
	wg.Wait()
	return append(append(ofNomad, ofConsul...), stray...)
}
