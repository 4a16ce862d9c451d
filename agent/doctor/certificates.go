package doctor

import (
	"fmt"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/gateway"
)

const (
	expirySoon     = 14 * 24 * time.Hour // Before a certificate expires.
	aboutCertsPath = "gateway certificates"
)

// checkCertificates judges the gateway's certificates.
func (d *Doctor) checkCertificates() []wadi.Finding {
	if d.Certificates == nil {
		return nil
	}
	return aboutCertificates(d.Certificates(), time.Now())
}

func aboutCertificates(all []gateway.Certificate, now time.Time) []wadi.Finding {
	var out []wadi.Finding
	good := 0
	for _, c := range all {
		about := "certificate " + c.Name
		if c.Name == "" {
			about = aboutCertsPath
		}
		add := func(level wadi.Level, what, remedy string) {
			out = append(out, wadi.Finding{Level: level, About: about, What: what, Remedy: remedy})
		}
		if c.Problem != "" {
			what := c.Problem + "; what was there before is in force"
			if c.NotAfter.IsZero() && c.Name != "" {
				what = c.Problem + "; its hosts are not served by it"
			}
			add(wadi.LevelFail, what, "mend the files, they are read again by themselves; an agent that is started with them refuses them")
		}
		left := c.NotAfter.Sub(now)
		switch {
		case c.NotAfter.IsZero():
		case left <= 0:
			add(wadi.LevelFail, fmt.Sprintf("it expired on %s, for %s", day(c.NotAfter), strings.Join(c.Hosts, ", ")), "put a new one in its place")
		case left < expirySoon:
			add(wadi.LevelWarn, fmt.Sprintf("it expires on %s, in %s, for %s", day(c.NotAfter), wadi.Quantity(int(left.Hours()/24), "day"), strings.Join(c.Hosts, ", ")), "put a new one in its place")
		case c.Problem == "":
			good++
		}
		if c.LooseKey != "" {
			add(wadi.LevelWarn, "every user of the machine may read its key "+c.LooseKey, "chmod o-rwx "+c.LooseKey)
		}
	}
	if good > 0 {
		out = append(out, wadi.Finding{Level: wadi.LevelOK, About: aboutCertsPath, What: fmt.Sprintf("%d %s good for two weeks at least", good, wadi.Plural(good, "is", "are"))})
	}
	return out
}
