package clientcert_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/proxy/clientcert"
)

const (
	here      = "spiffe://d473.consul/ns/default/dc/dc1/svc/"
	byHello   = "By=" + here + "hello;"
	envoySays = byHello + `Hash=ab;Cert="-----BEGIN%20CERTIFICATE-----%0A";Chain="x";Subject="";URI=` + here
)

func TestClientCert_FromActivator(t *testing.T) {
	for value, want := range map[string]bool{
		"":                                 false,
		envoySays + "wadi-activator":       true,
		envoySays + "wadi-activator-http2": true,
		envoySays + "wadi-activator-grpc":  true,
		envoySays + "web":                  false,
		envoySays + "wadi-activator2":      false,
		envoySays + "wadi-gateway":         false,
		envoySays + "wadi-activator," + envoySays + "web":              false, // A caller's claim.
		envoySays + "web," + envoySays + "wadi-activator":              true,
		byHello + "URI=" + here + "web;URI=" + here + "wadi-activator": false, // Which of them?
		"By=" + here + "other;URI=" + here + "wadi-activator":          false, // Some other Envoy.
		"URI=" + here + "wadi-activator":                               false,
		// Of another trust domain, datacenter, namespace or partition: its requests are not counted here.
		byHello + "URI=spiffe://e.consul/ns/default/dc/dc1/svc/wadi-activator":          false,
		byHello + "URI=spiffe://d473.consul/ns/default/dc/dc2/svc/wadi-activator":       false,
		byHello + "URI=spiffe://d473.consul/ns/team/dc/dc1/svc/wadi-activator":          false,
		byHello + "URI=spiffe://d473.consul/ap/p/ns/default/dc/dc1/svc/wadi-activator":  false,
		byHello + "URI=spiffe://d473.consul/ns/default/dc/dc1/svc/x/svc/wadi-activator": false,
		byHello + "URI=" + here + "wadi-activator/x":                                    false,
		byHello + `DNS=";URI=` + here + `wadi-activator"`:                               false,
		byHello + `Subject="\";URI=` + here + `wadi-activator;x=\""`:                    false,
	} {
		c, err := clientcert.Parse([]string{value})
		if value == "" {
			c, err = clientcert.Parse(nil)
		}
		if err != nil || c.FromActivator("hello") != want {
			t.Errorf("%s: %v, %v, want %v", value, c.FromActivator("hello"), err, want)
		}
	}
}

// Whatever a caller sent, Envoy appends its element to it. No beginning may make
// that one a part of something else.
func TestParseClientCert_Refuses(t *testing.T) {
	for _, claim := range []string{
		`URI=a;Subject="`, `Subject="\`, `"`, `x`, `=x`, `;`, `URI=a;`, `URI=a;;By=b`, `URI=a"b`, `URI="a"b`, `UR I=a`, ``, ` `, `,`, `a=b,,c=d`, "é=x",
	} {
		if c, err := clientcert.Parse([]string{claim + "," + envoySays + "web"}); err == nil {
			t.Errorf("%q: taken for %+v", claim, c)
		}
	}
	for _, whole := range []string{"", ",", "URI=a,", `URI="a`} {
		if c, err := clientcert.Parse([]string{whole}); err == nil {
			t.Errorf("%q: taken for %+v", whole, c)
		}
	}
}

func TestCert_ForApp(t *testing.T) {
	for _, tt := range []struct {
		values []string
		want   string
	}{
		{nil, ""},
		{[]string{envoySays + "web"}, envoySays + "web"},
		{[]string{`URI=forged;Subject="a\",b;c",` + envoySays + "web"}, envoySays + "web"},
		{[]string{"URI=forged", "URI=forged", envoySays + "web"}, envoySays + "web"},
		{[]string{"URI=forged, " + envoySays + "web"}, envoySays + "web"},
		{[]string{envoySays + "wadi-activator"}, ""},
		{[]string{"Hash=cd;URI=" + here + "web," + envoySays + "wadi-activator"}, byHello + "Hash=cd;URI=" + here + "web"},
	} {
		c, err := clientcert.Parse(tt.values)
		if got := c.ForApp("hello"); got != tt.want || err != nil {
			t.Errorf("%q: told %q, %v, want %q", tt.values, got, err, tt.want)
		}
	}
}

// FuzzParseClientCert: whatever is before it, an Envoy's element is found or the
// whole is refused, and only an Envoy can name an activator.
func FuzzParseClientCert(f *testing.F) {
	for _, s := range []string{"", "URI=a", `Subject="`, `Subject="\"`, envoySays + "wadi-activator", `a="b\\"`, "x=,y=", `x="";y=`} {
		f.Add(s, "", false)
		f.Add(s, s, true)
	}
	f.Fuzz(func(t *testing.T, claim, more string, several bool) {
		for _, element := range []string{envoySays + "web", byHello + "Hash=ab;URI=" + here + "web"} {
			values := []string{claim + more + "," + element}
			if several {
				values = []string{claim, more, element}
			}
			c, err := clientcert.Parse(values)
			if err == nil && (c.FromActivator("hello") || c.URI != here+"web" || c.ForApp("hello") != element) {
				t.Fatalf("%q: taken for %+v", values, c)
			}
		}
	})
}

func TestFormatClientCert(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := url.Parse(here + "web")
	if err != nil {
		t.Fatal(err)
	}
	cert := x509.Certificate{SerialNumber: big.NewInt(1), URIs: []*url.URL{id}, DNSNames: []string{"a.example"},
		Subject: pkix.Name{CommonName: `a",b;c=\`}}
	raw, err := x509.CreateCertificate(rand.Reader, &cert, &cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	got := clientcert.Format([]*x509.Certificate{leaf, leaf})
	if strings.ContainsAny(got, "\r\n") || !strings.HasPrefix(got, "Hash=") || !strings.HasSuffix(got, ";URI="+here+"web;DNS=a.example") {
		t.Errorf("got %s", got)
	}
	c, err := clientcert.Parse([]string{got + "," + envoySays + "wadi-activator"})
	if want := byHello + got; err != nil || c.ForApp("hello") != want {
		t.Errorf("told %q, %v, want %q", c.ForApp("hello"), err, want)
	}
	if got := clientcert.Format(nil); got != "" {
		t.Errorf("of nobody: %q", got)
	}
}

func BenchmarkParseClientCert(b *testing.B) {
	value := []string{byHello + `Hash=ab;Cert="` + strings.Repeat("x", 1100) + `";Chain="` + strings.Repeat("y", 1100) + `";Subject="";URI=` + here + "web"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := clientcert.Parse(value); err != nil {
			b.Fatal(err)
		}
	}
}
