package doctor

import (
	"fmt"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/survey"
)

// aboutOldNomad judges whether Wadi supports the versions of Nomad's servers.
func aboutOldNomad(n survey.Nomad) []wadi.Finding {
	old := n.TooOld()
	if len(old) == 0 {
		return nil
	}
	return []wadi.Finding{{Level: wadi.LevelFail, About: aboutNomad, Remedy: "bring Nomad to a supported version",
		What: fmt.Sprintf("its version is %s; Wadi supports %s and newer", strings.Join(old, ", "), survey.OldestNomad)}}
}

// aboutOldConsul is the same of Consul's agent.
func aboutOldConsul(c survey.Consul) []wadi.Finding {
	old := c.TooOld()
	if old == "" {
		return nil
	}
	return []wadi.Finding{{Level: wadi.LevelFail, About: aboutConsul, Remedy: "bring Consul to a supported version",
		What: fmt.Sprintf("its version is %s; Wadi supports %s and newer", old, survey.OldestConsul)}}
}
