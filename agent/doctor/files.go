package doctor

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

// CertFile is a file of certificates that the configuration names.
type CertFile struct {
	Setting string // For instance nomad.cert_file.
	Path    string
}

// maxCertFile bounds a file of certificates.
const maxCertFile = 1 << 20

// checkCertFiles looks which certificates in the agent's own files end soon.
func (d *Doctor) checkCertFiles() []wadi.Finding {
	if d.CertFiles == nil {
		return nil
	}
	var out []wadi.Finding
	for _, f := range d.CertFiles() {
		out = append(out, aboutCertFile(f, time.Now())...)
	}
	return out
}

// aboutCertFile judges the certificate in a file that ends first. Of authorities those that
// have ended do not count as long as others are good: an authority that is replaced is next
// to the new one for a while.
func aboutCertFile(f CertFile, now time.Time) []wadi.Finding {
	about := "certificate of " + f.Setting
	authorities := strings.HasSuffix(f.Setting, ".ca_file")
	ends, err := endsIn(f.Path, authorities)
	if err != nil {
		return []wadi.Finding{{Level: wadi.LevelFail, About: about, What: err.Error(),
			Remedy: "mend the file: what was read from it before is in force until the agent is restarted"}}
	}
	end := slices.MinFunc(ends, time.Time.Compare)
	if good := slices.DeleteFunc(ends, func(end time.Time) bool { return !end.After(now) }); authorities && len(good) > 0 {
		end = slices.MinFunc(good, time.Time.Compare)
	}
	switch left := end.Sub(now); {
	case left <= 0:
		return []wadi.Finding{{Level: wadi.LevelFail, About: about, What: "it expired on " + day(end), Remedy: "put a new one into " + f.Path}}
	case left < expirySoon:
		return []wadi.Finding{{Level: wadi.LevelWarn, About: about,
			What: fmt.Sprintf("it expires on %s, in %s", day(end), wadi.Quantity(int(left.Hours()/24), "day")), Remedy: "put a new one into " + f.Path}}
	}
	return nil
}

// endsIn is when each of the certificates in a file expires, of one at least. What can't be
// parsed is left out of a bundle, as by those that use it.
func endsIn(path string, bundle bool) (ends []time.Time, err error) {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxCertFile) {
		err = fmt.Errorf("%s is no file of certificates", path)
	}
	if err != nil {
		return nil, err
	}
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err == nil:
			ends = append(ends, c.NotAfter)
		case !bundle:
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if len(ends) == 0 {
		return nil, fmt.Errorf("%s has no certificate", path)
	}
	return ends, nil
}

// checkLeaves looks whether the agent's certificates of the mesh are renewed. Consul renews
// them in the last half of their life.
func (d *Doctor) checkLeaves() []wadi.Finding {
	if d.Leaves == nil {
		return nil
	}
	end, lifetime := d.Leaves()
	return aboutLeaves(end, lifetime, time.Now())
}

func aboutLeaves(end time.Time, lifetime time.Duration, now time.Time) []wadi.Finding {
	if end.IsZero() || end.Sub(now) > lifetime/12 {
		return nil
	}
	f := wadi.Finding{Level: wadi.LevelFail, About: aboutMeshOf,
		What:   "the agent's certificate was not renewed, and expires on " + day(end) + ": then it takes no call of the mesh",
		Remedy: "look into the log of Consul's agent and of its leader for errors of the certificate authority (connect)"}
	if !end.After(now) {
		f.What = "the agent's certificate was not renewed, and expired on " + day(end) + ": it takes no call of the mesh"
	}
	return []wadi.Finding{f}
}
