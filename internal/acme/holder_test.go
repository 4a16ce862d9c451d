package acme_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wadi-run/wadi/internal/acme"
	"github.com/wadi-run/wadi/internal/store"
)

const token = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"

// sealerOf is a sealer with a key of its own.
func sealerOf(t *testing.T) acme.Sealer {
	t.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	file := filepath.Join(t.TempDir(), "acme.key")
	if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := acme.LoadSealer(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// issue stores a certificate for a domain, by an orderer.
func issue(t *testing.T, k *kept, sealer acme.Sealer, domain string) {
	t.Helper()
	l := newLeader(k, claimed(domain))
	l.Sealer = sealer
	stop := l.run(t)
	defer stop()
	for k.of(domain).Certificate.Domain == "" {
		time.Sleep(time.Millisecond)
	}
}

func holder(t *testing.T, k *kept, s acme.Sealer, log hclog.Logger) *acme.Holder {
	t.Helper()
	return acme.NewHolder(k, s, func(domain string) bool { return strings.HasSuffix(domain, ".com") }, log, prometheus.NewRegistry())
}

// follow runs a holder until the test's bubble ends.
func follow(t *testing.T, h *acme.Holder) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := h.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	synctest.Wait()
	return func() {
		cancel()
		<-done
	}
}

// Private keys in Consul can't be read, or used for another domain, without the key of the
// agents; and agents with it have the certificates.
func TestHolder_Encrypted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, sealer := newKept(), sealerOf(t)
		issue(t, k, sealer, "a.com")
		stored := k.of("a.com").Certificate
		if strings.Contains(stored.Key, "PRIVATE KEY") || !strings.HasPrefix(stored.Key, "aes256gcm:") {
			t.Fatalf("stored as %.30s", stored.Key)
		}
		for _, a := range k.accounts {
			if strings.Contains(a.Key, "PRIVATE KEY") {
				t.Error("the account's key is not encrypted")
			}
		}
		moved := stored
		moved.Domain = "b.com"
		_ = k.PutCertificate(t.Context(), moved, store.Order{Domain: "b.com"})
		h := holder(t, k, sealer, hclog.NewNullLogger())
		defer follow(t, h)()
		if c := h.Certificate("a.com"); c == nil || c.Leaf.VerifyHostname("a.com") != nil {
			t.Error("no certificate")
		}
		if h.Certificate("b.com") != nil {
			t.Error("the key of a.com is used for b.com")
		}
		for name, other := range map[string]acme.Sealer{"no key": {}, "another key": sealerOf(t)} {
			h := holder(t, k, other, hclog.NewNullLogger())
			stop := follow(t, h)
			if l := h.List(); h.Certificate("a.com") != nil || len(l) != 2 || !strings.Contains(l[0].Problem, "encryption_key_file") {
				t.Errorf("with %s: %+v", name, l)
			}
			stop()
		}
	})
}

// What can't be used leaves in force what was there, is said once, and no secret is logged.
func TestHolder_KeepsWhatWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept()
		issue(t, k, acme.Sealer{}, "a.com")
		good := k.of("a.com").Certificate
		var log bytes.Buffer
		h := holder(t, k, acme.Sealer{}, hclog.New(&hclog.LoggerOptions{Output: &log}))
		defer follow(t, h)()
		before := h.Certificate("a.com")
		key := strings.Split(good.Key, "\n")[1]
		for name, breakIt := range map[string]func(c *store.Certificate){
			"key of another":   func(c *store.Certificate) { c.Key = otherKey(t) },
			"no key":           func(c *store.Certificate) { c.Key = "" },
			"damaged key":      func(c *store.Certificate) { c.Key = strings.Replace(c.Key, key[:9], "!!!!!!!!!", 1) },
			"damaged seal":     func(c *store.Certificate) { c.Key = "aes256gcm:" + key },
			"no certificate":   func(c *store.Certificate) { c.Chain = "" },
			"a wrong domain's": func(c *store.Certificate) { c.Domain = "b.com" },
		} {
			bad := good
			breakIt(&bad)
			if err := k.PutCertificate(t.Context(), bad, store.Order{Domain: bad.Domain}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if h.Certificate("a.com") != before || h.Certificate("b.com") != nil {
				t.Errorf("%s: it is not what it was", name)
			}
		}
		if strings.Contains(log.String(), key[:20]) {
			t.Error("a private key is logged")
		}
		_ = k.PutCertificate(t.Context(), good, store.Order{Domain: "a.com"})
		synctest.Wait()
		if l := h.List(); l[0].Problem != "" || h.Certificate("a.com") == nil {
			t.Errorf("good again, and %+v", l)
		}
		_ = k.ForgetDomain(t.Context(), "a.com")
		synctest.Wait()
		if h.Certificate("a.com") != nil {
			t.Error("forgotten, and still served")
		}
	})
}

func privateKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func otherKey(t *testing.T) string {
	t.Helper()
	key := privateKey(t)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// An authority is answered by the challenge that the watch told of, or else by what Consul
// says; nobody is answered for another domain, another token, a challenge of the other kind
// or one that is over.
func TestHolder_Answers(t *testing.T) {
	for name, blind := range map[string]bool{"by the watch": false, "before the watch": true} {
		synctest.Test(t, func(t *testing.T) {
			k := newKept()
			k.blind = blind
			h := holder(t, k, acme.Sealer{}, hclog.NewNullLogger())
			defer follow(t, h)()
			put := func(kind string) {
				_ = k.PutChallenge(t.Context(), store.Challenge{Domain: "a.com", Type: kind, Token: token, Answer: token + ".x", Expires: time.Now().Add(time.Minute)})
				synctest.Wait()
				time.Sleep(3 * time.Second) // New look-ups are allowed.
			}
			put(acme.HTTP)
			if got, ok := h.AnswerHTTP(t.Context(), "a.com", token); !ok || got != token+".x" {
				t.Errorf("%s: %q, %v", name, got, ok)
			}
			for _, ask := range [][2]string{{"b.com", token}, {"a.org", token}, {"a.com", token[1:]}, {"a.com", ""}, {"a.com", "../" + token}, {"a.com", strings.Repeat("a", 600)}} {
				if got, ok := h.AnswerHTTP(t.Context(), ask[0], ask[1]); ok || got != "" {
					t.Errorf("%s: %v is answered", name, ask)
				}
			}
			if h.AnswerTLS(t.Context(), "a.com") != nil {
				t.Errorf("%s: a handshake is answered for a request", name)
			}
			put(acme.TLSALPN)
			if _, ok := h.AnswerHTTP(t.Context(), "a.com", token); ok {
				t.Errorf("%s: a request is answered for a handshake", name)
			}
			c := h.AnswerTLS(t.Context(), "a.com")
			if c == nil {
				t.Fatalf("%s: no answer", name)
			}
			leaf, err := x509.ParseCertificate(c.Certificate[0])
			if err != nil || leaf.VerifyHostname("a.com") != nil {
				t.Errorf("%s: %v", name, err)
			}
			time.Sleep(time.Minute)
			if h.AnswerTLS(t.Context(), "a.com") != nil {
				t.Errorf("%s: it is over", name)
			}
		})
	}
}

// However many callers invent tokens and domains, Consul is asked a few times a second, and
// never about a domain that no service claims.
func TestHolder_FloodOfTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept()
		h := holder(t, k, acme.Sealer{}, hclog.NewNullLogger())
		defer follow(t, h)()
		for i := range 1000 {
			h.AnswerHTTP(t.Context(), fmt.Sprintf("x%d.org", i), token)
			h.AnswerTLS(t.Context(), fmt.Sprintf("x%d.org", i))
		}
		if k.lookUps != 0 {
			t.Errorf("%d look-ups for unclaimed domains", k.lookUps)
		}
		for second := range 10 {
			for i := range 1000 {
				h.AnswerHTTP(t.Context(), "a.com", fmt.Sprintf("%022d", second*1000+i))
			}
			time.Sleep(time.Second)
		}
		if k.lookUps == 0 || k.lookUps > 20+10*10 {
			t.Errorf("%d look-ups in 10 s", k.lookUps)
		}
	})
}

// The metric has one line for each certificate.
func TestHolder_Metrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, reg := newKept(), prometheus.NewRegistry()
		issue(t, k, acme.Sealer{}, "a.com")
		h := acme.NewHolder(k, acme.Sealer{}, func(string) bool { return true }, hclog.NewNullLogger(), reg)
		defer follow(t, h)()
		n, err := testutil.GatherAndCount(reg, "wadi_acme_certificate_remaining_seconds")
		if err != nil || n != 1 {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// A file that holds no key of 32 bytes is refused, with its path.
func TestLoadSealer_BadFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": "", "short": "YWJj", "text": "no base64!", "long": base64.StdEncoding.EncodeToString(make([]byte, 33))} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := acme.LoadSealer(file); err == nil || !strings.HasPrefix(err.Error(), file) || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := acme.LoadSealer(dir); err == nil {
		t.Error("a folder is taken for a key")
	}
	if _, err := acme.NewAuthority(acme.AuthorityConfig{CAFile: filepath.Join(dir, "short")}); err == nil || !strings.Contains(err.Error(), "ca_file") {
		t.Errorf("%v", err)
	}
}
