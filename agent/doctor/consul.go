package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/policies"
)

// askConsulAgain is the remedy where Consul answers some questions and others not.
const askConsulAgain = "ask again; Consul's log says more"

// checkConsul finds out whether Consul answers, and takes writes below the prefix.
func (d *Doctor) checkConsul(ctx context.Context) []wadi.Finding {
	began := time.Now()
	if _, err := d.Consul.Leader(ctx); err != nil {
		return []wadi.Finding{{Level: wadi.LevelFail, About: aboutConsul, What: err.Error(),
			Remedy: "look at Consul at " + d.ConsulAddress + " (consul.address); warm requests are served meanwhile"}}
	}
	took := time.Since(began)
	if err := d.Store.Check(ctx); err != nil {
		if errors.Is(err, wadi.ErrForbidden) {
			return []wadi.Finding{d.lacksKeys(err)}
		}
		return []wadi.Finding{{Level: wadi.LevelFail, About: aboutConsul, What: err.Error(), Remedy: askConsulAgain}}
	}
	return []wadi.Finding{{Level: wadi.LevelOK, About: aboutConsul,
		What: fmt.Sprintf("%s answers in %s, and keys below %s may be written", d.ConsulAddress, took.Round(time.Millisecond), d.Prefix)}}
}

// lacksKeys is the finding about a token that may not write below the prefix.
func (d *Doctor) lacksKeys(err error) wadi.Finding {
	return wadi.Finding{Level: wadi.LevelFail, About: aboutConsul,
		What:   fmt.Sprintf("the agent's token lacks write on keys below %s: nothing can be stored (%v)", d.Prefix, err),
		Remedy: "give it " + policies.Keys(d.Prefix).String()}
}

// checkStored says how many stored values are not understood.
func (d *Doctor) checkStored() []wadi.Finding {
	bad := len(d.Store.Unreadable())
	if bad == 0 {
		return nil
	}
	return []wadi.Finding{{Level: wadi.LevelFail, About: aboutConsul,
		What: fmt.Sprintf("%s of the routes and the index %s not understood, so that this agent goes on with what was there before, or without",
			wadi.Quantity(bad, "value"), wadi.Plural(bad, "is", "are")),
		Remedy: "upgrade this agent if a newer Wadi wrote them; its log names each, and why"}}
}

// checkIntentions says how many services have intentions that this agent may not read, so that
// it lets no caller in. Intentions that are not read yet are a problem of the start.
func (d *Doctor) checkIntentions() []wadi.Finding {
	hidden := d.Hidden()
	if hidden == 0 {
		return nil
	}
	return []wadi.Finding{{Level: wadi.LevelFail, About: "intentions",
		What: fmt.Sprintf("the intentions of %s may not be read, so that no caller may call through an activator or the gateway; the agent's log names them",
			wadi.Quantity(hidden, "service")),
		Remedy: "give the agent's Consul token " + policies.ReadIntentions().String()}}
}
