package doctor

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
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

// aboutCertFile judges the certificate in a file that ends first.
func aboutCertFile(f CertFile, now time.Time) []wadi.Finding {
	about := "certificate of " + f.Setting
	end, err := firstEnd(f.Path)
	if err != nil {
		return []wadi.Finding{{Level: wadi.LevelFail, About: about, What: err.Error(),
			Remedy: "mend the file: what was read from it before is in force until the agent is restarted"}}
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

// firstEnd is when the first of the certificates in a file expires.
func firstEnd(path string) (end time.Time, err error) {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxCertFile) {
		err = fmt.Errorf("%s is no file of certificates", path)
	}
	if err != nil {
		return end, err
	}
	rest, err := os.ReadFile(path)
	if err != nil {
		return end, err
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
		if err != nil {
			return end, fmt.Errorf("%s: %w", path, err)
		}
		if end.IsZero() || c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	if end.IsZero() {
		return end, fmt.Errorf("%s has no certificate", path)
	}
	return end, nil
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
