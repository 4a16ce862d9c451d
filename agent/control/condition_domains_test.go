package control_test

import (
	"maps"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
)

// domainsOf knows the domains in it.
type domainsOf struct {
	now atomic.Pointer[map[string]wadi.Domain]
}

func (d *domainsOf) Domain(name string) (wadi.Domain, bool) {
	got, known := (*d.now.Load())[name]
	return got, known
}

func (d *domainsOf) set(all ...wadi.Domain) {
	now := map[string]wadi.Domain{}
	for _, each := range all {
		now[each.Name] = each
	}
	d.now.Store(&now)
}

// A service has a condition for each of its domains: until when it has a certificate, or why
// not, when the next try is, and what to do. None of it is about readiness.
func TestController_ReportsCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, known := newCluster(), &domainsOf{}
		known.set()
		c.domains = known
		ctl, end := lead(t, c)
		defer end()
		until := time.Date(2030, 3, 1, 10, 0, 0, 0, time.UTC)
		next := time.Date(2030, 1, 1, 11, 30, 0, 0, time.UTC)
		want := func(when string, want map[string]wadi.Condition) {
			t.Helper()
			ctl.Touch("hello")
			time.Sleep(50 * time.Millisecond) // Far less than until the next pass without news.
			synctest.Wait()
			got := map[string]wadi.Condition{}
			st := c.service("hello").Status
			for _, cond := range st.Conditions {
				if len(cond.Type) > len(control.ConditionCertificate) && cond.Type[:len(control.ConditionCertificate)] == control.ConditionCertificate {
					got[cond.Type] = cond
				}
			}
			all := maps.Clone(want)
			for name, cond := range all {
				cond.Type = name
				all[name] = cond
			}
			if diff := cmp.Diff(all, got, cmpopts.IgnoreFields(wadi.Condition{}, "Since"), cmpopts.EquateEmpty()); diff != "" || st.Phase != "ready" {
				t.Errorf("%s: phase %s (-want +got):\n%s", when, st.Phase, diff)
			}
		}
		synctest.Wait()
		c.submit("hello")
		c.resubmit(t, func(s *wadi.Service) { s.Visibility, s.Domains = wadi.Public, []string{"a.com", "b.com"} })
		time.Sleep(5 * time.Second)
		want("nothing known", nil)
		known.set(wadi.Domain{Name: "a.com", Service: "hello", State: wadi.DomainIssued, NotAfter: until, Renewal: next},
			wadi.Domain{Name: "b.com", Service: "another", State: wadi.DomainIssued, NotAfter: until})
		want("issued", map[string]wadi.Condition{"Certificate/a.com": {OK: true, Reason: "Issued",
			Message: "until 2030-03-01 10:00 UTC, renewed from 2030-01-01 11:30 UTC"}})
		failed := wadi.Domain{Name: "a.com", Service: "hello", State: wadi.DomainIssued, NotAfter: until, Reason: wadi.DomainNoAddress, Error: "no A record.", NextTry: next}
		known.set(failed, wadi.Domain{Name: "b.com", Service: "hello", State: wadi.DomainOrdered})
		why := "DNS: no A record; the next try is at 2030-01-01 11:30 UTC; give a.com an address in the DNS: that of the gateway, or of what stands in front of it"
		want("not renewed", map[string]wadi.Condition{
			"Certificate/a.com": {OK: true, Reason: "RenewalFailed", Message: "until 2030-03-01 10:00 UTC; it can't be renewed: " + why},
			"Certificate/b.com": {Reason: "Ordered", Message: "the first one is being obtained, or its turn comes"},
		})
		expired, never := failed, failed
		expired.State = wadi.DomainRefused
		never.Name, never.State, never.NotAfter, never.Reason, never.Error = "b.com", wadi.DomainRefused, time.Time{}, wadi.DomainAway, ""
		known.set(expired, never)
		want("refused", map[string]wadi.Condition{
			"Certificate/a.com": {Reason: "DNS", Message: "it expired on 2030-03-01 10:00 UTC: " + why},
			"Certificate/b.com": {Reason: "AuthorityAway", Message: "there is none: AuthorityAway; the next try is at 2030-01-01 11:30 UTC; " + never.Remedy()},
		})
		known.set(wadi.Domain{Name: "a.com", Service: "hello", State: wadi.DomainFolder},
			wadi.Domain{Name: "b.com", Service: "hello", State: wadi.DomainUnstored, Error: "of a newer Wadi"})
		want("of the operator", map[string]wadi.Condition{
			"Certificate/a.com": {OK: true, Reason: "Folder", Message: "the operator's folder has one, gateway.tls.cert_dir"},
			"Certificate/b.com": {Reason: "Unstored", Message: "what is stored of it can't be used, and stays: of a newer Wadi"},
		})
		known.set(wadi.Domain{Name: "b.com", Service: "hello", State: wadi.DomainTooMany})
		want("too many", map[string]wadi.Condition{
			"Certificate/b.com": {Reason: "TooMany", Message: "none is obtained: there are more domains than the agents allow; raise gateway.tls.acme.max_domains"},
		})
		c.resubmit(t, func(s *wadi.Service) { s.Visibility = wadi.MeshOnly })
		want("in the mesh alone", nil)
	})
}
