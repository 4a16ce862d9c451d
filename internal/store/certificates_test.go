package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/store"
)

// What is stored of certificates comes back, every agent sees it, a leader of the past writes
// and deletes none of it, and what can't be read is told from what is not there.
func testCertificates(t *testing.T, s *store.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	at := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	cert := store.Certificate{Domain: "a.com", Directory: "https://ca/dir", Chain: strings.Repeat("c", 6000), Key: "k", NotBefore: at, NotAfter: at.Add(time.Hour)}
	order := store.Order{Domain: "a.com", Attempts: []time.Time{at}, Failures: 2, Reason: "DNS", Error: "<no>", NextTry: at}
	account := store.Account{Directory: "https://ca/dir", Key: "k", Location: "https://ca/1", Email: "a@b.c"}
	challenge := store.Challenge{Domain: "a.com", Type: "http-01", Token: "t", Answer: "t.x", Expires: at}
	if _, err := s.Account(ctx, account.Directory); !errors.Is(err, wadi.ErrNotFound) {
		t.Errorf("no account: %v", err)
	}
	w := leader(t, s)
	for what, err := range map[string]error{
		"account": w.PutAccount(ctx, account), "challenge": w.PutChallenge(ctx, challenge), "certificate": w.PutCertificate(ctx, cert, order),
		"order": w.PutOrder(ctx, store.Order{Domain: "b.com", Unclaimed: at}),
	} {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	all, err := s.Issued(ctx)
	want := map[string]store.Issued{"a.com": {Certificate: cert, Order: order}, "b.com": {Order: store.Order{Domain: "b.com", Unclaimed: at}}}
	if diff := cmp.Diff(want, all); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := s.Account(ctx, account.Directory); got != account || err != nil {
		t.Errorf("account %+v, %v", got, err)
	}
	if got, err := s.Challenge(ctx, "a.com"); got != challenge || err != nil {
		t.Errorf("challenge %+v, %v", got, err)
	}
	seen := make(chan map[string]store.Certificate, 10)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go func() { _ = s.WatchCertificates(watching, func(now map[string]store.Certificate) { seen <- now }) }() // It returns nil.
	if diff := cmp.Diff(map[string]store.Certificate{"a.com": cert}, <-seen); diff != "" {
		t.Errorf("watched (-want +got):\n%s", diff)
	}
	takeLead(t, s)
	for what, err := range map[string]error{
		"account": w.PutAccount(ctx, account), "challenge": w.PutChallenge(ctx, challenge), "certificate": w.PutCertificate(ctx, cert, order),
		"order": w.PutOrder(ctx, order), "forget": w.ForgetDomain(ctx, "a.com"), "answered": w.DeleteChallenge(ctx, "a.com"),
	} {
		if !errors.Is(err, wadi.ErrNotLeading) {
			t.Errorf("%s by a leader of the past: %v", what, err)
		}
	}
	newer := []byte(`{"schema":99,"kind":"certificate","data":{}}`)
	if _, err := s.Consul().Txn(ctx, []consul.Op{{Verb: consul.Set, Key: "wadi/certificate/b.com", Value: newer}}); err != nil {
		t.Fatal(err)
	}
	all, err = s.Issued(ctx)
	if err != nil || !strings.Contains(all["b.com"].Unreadable, "newer Wadi") || all["a.com"].Unreadable != "" {
		t.Errorf("%+v, %v", all, err)
	}
	w = leader(t, s)
	for _, err := range []error{w.DeleteChallenge(ctx, "a.com"), w.ForgetDomain(ctx, "a.com"), w.ForgetDomain(ctx, "never.com")} {
		if err != nil {
			t.Error(err)
		}
	}
	for now := range seen {
		if len(now) == 0 {
			break
		}
	}
	if all, err = s.Issued(ctx); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := s.Challenge(ctx, "a.com"); !errors.Is(err, wadi.ErrNotFound) {
		t.Errorf("the challenge is still there: %v", err)
	}
}
