package doctor

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/authz"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/proxy/gateway"
)

func TestCheckIntentions(t *testing.T) {
	hidden := authz.New(nil, nil, hclog.NewNullLogger()).Hidden()
	d := &Doctor{Hidden: func() int { return hidden }}
	if got := d.checkIntentions(); got != nil {
		t.Errorf("nothing known: got %v", got)
	}
	hidden = 12
	got := d.checkIntentions()
	if len(got) != 1 || got[0].Level != wadi.LevelFail || !strings.Contains(got[0].What, "the intentions of 12 services may not be read") {
		t.Errorf("got %+v", got)
	}
}

func TestAboutCertificates(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	got := aboutCertificates([]gateway.Certificate{
		{Name: "broken", Hosts: []string{"b.com"}, NotAfter: now.Add(1000 * time.Hour), Problem: "b.pem: x"},
		{Name: "fine", Hosts: []string{"f.com"}, NotAfter: now.Add(15 * 24 * time.Hour)},
		{Name: "gone", Hosts: []string{"g.com"}, NotAfter: now.Add(-time.Hour)},
		{Name: "never", Problem: "n.pem: x"},
		{Name: "soon", Hosts: []string{"s.com", "t.com"}, NotAfter: now.Add(13*24*time.Hour + time.Hour), LooseKey: "/s.key"},
		{Problem: "/certs: no such file or directory"},
	}, now)
	mend := "mend the files, they are read again by themselves; an agent that is started with them refuses them"
	want := []wadi.Finding{
		{Level: "fail", About: "certificate broken", What: "b.pem: x; what was there before is in force", Remedy: mend},
		{Level: "fail", About: "certificate gone", What: "it expired on 2029-12-31 23:00 UTC, for g.com", Remedy: "put a new one in its place"},
		{Level: "fail", About: "certificate never", What: "n.pem: x; its hosts are not served by it", Remedy: mend},
		{Level: "warn", About: "certificate soon", What: "it expires on 2030-01-14 01:00 UTC, in 13 days, for s.com, t.com", Remedy: "put a new one in its place"},
		{Level: "warn", About: "certificate soon", What: "every user of the machine may read its key /s.key", Remedy: "chmod o-rwx /s.key"},
		{Level: "fail", About: "gateway certificates", What: "/certs: no such file or directory; what was there before is in force", Remedy: mend},
		{Level: "ok", About: "gateway certificates", What: "1 is good for two weeks at least"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The certificates that agents obtain are counted, by what they have come to. No domain is
// named: every caller that Nomad knows may read this.
func TestAboutDomains(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	domain := func(state wadi.DomainState, reason string, left time.Duration) wadi.Domain {
		return wadi.Domain{Name: "secret.com", State: state, Reason: reason, NotAfter: now.Add(left)}
	}
	got := aboutDomains([]wadi.Domain{
		domain(wadi.DomainIssued, "", 1000*time.Hour), domain(wadi.DomainFolder, "", 0),
		domain(wadi.DomainRefused, wadi.DomainNoAddress, 0), domain(wadi.DomainRefused, wadi.DomainNoAddress, 0), domain(wadi.DomainRefused, wadi.DomainCAA, 0),
		domain(wadi.DomainIssued, wadi.DomainAway, 500*time.Hour), domain(wadi.DomainIssued, wadi.DomainAway, 400*time.Hour),
		domain(wadi.DomainTooMany, "", 0), domain(wadi.DomainOrdered, "", 0),
	}, []string{"its private key can't be decrypted"}, now)
	const named = "; the status of their services names them, with what to do"
	away := wadi.Domain{Name: "each of them", Reason: wadi.DomainAway}.Remedy()
	about := "certificates of domains"
	want := []wadi.Finding{
		{Level: "fail", About: about, What: "3 domains are without a certificate, as the last attempt failed (CAA: 1, DNS: 2)" + named, Remedy: "wadi service status shows for each domain what to do"},
		{Level: "warn", About: about, What: "the renewal of 2 certificates fails (AuthorityAway: 2), the first expires on 2030-01-17 16:00 UTC" + named, Remedy: away},
		{Level: "fail", About: about, What: "1 domain is more than gateway.tls.acme.max_domains, and without a certificate", Remedy: "raise it on all agents, or put certificates into gateway.tls.cert_dir"},
		{Level: "fail", About: about, What: "1 stored certificate can't be used by this agent: its private key can't be decrypted", Remedy: "mend that; to have a new one ordered, delete the key certificate/DOMAIN below consul.prefix"},
		{Level: "warn", About: about, What: "1 domain is waiting for a first certificate", Remedy: "look again in some minutes"},
		{Level: "ok", About: about, What: "2 domains have one"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	late := aboutDomains([]wadi.Domain{domain(wadi.DomainIssued, wadi.DomainAway, 100*time.Hour)}, nil, now)
	if len(late) != 1 || late[0].Level != wadi.LevelFail {
		t.Errorf("a week before it expires: %+v", late)
	}
}

// An agent that several others lost is reported once, and not while it answers.
func TestLostAgents(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	one, two := wadi.AgentReport{Name: "one"}, wadi.AgentReport{Name: "two"}
	one.Lost = []wadi.LostAgent{{Name: "three", Since: now.Add(-time.Minute)}, {Name: "two", Since: now}}
	two.Lost = []wadi.LostAgent{{Name: "three", Since: now.Add(-time.Hour)}}
	got := lostAgents([]wadi.AgentReport{one, two}, now)
	if len(got) != 1 || got[0].Level != wadi.LevelWarn || got[0].About != "agent three" || !strings.Contains(got[0].What, "lost since 2030-01-01 11:00 UTC (1h0m0s ago)") {
		t.Errorf("got %+v", got)
	}
}

// A hanging agent costs the doctor a few seconds.
func TestAskReport_HangingAgent(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // The kernel takes connections for a paused process.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	d := &Doctor{Ask: func(ctx context.Context, _ consul.Instance, path, _ string) (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.Addr().String()+path, nil)
		if err != nil {
			return nil, err
		}
		return http.DefaultTransport.RoundTrip(r)
	}}
	_, err = d.askReport(t.Context(), consul.Instance{}, "")
	if err == nil || !strings.Contains(err.Error(), "does not answer within 4s") {
		t.Errorf("got %v", err)
	}
}
