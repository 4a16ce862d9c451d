// Package config reads the agent's configuration: HCL files, the environment and
// the command line's flags.
//
// It promises to report every mistake at once, each with file and line, and to return a
// configuration with which the agent can start, or none. It refuses unknown settings and
// those of other versions: an ignored setting would mislead its author.
package config

import (
	"encoding/json"
	"net/netip"
	"os"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/rules"
	"github.com/wadi-run/wadi/jobspecs"
)

// Config is a whole, checked configuration.
type Config struct {
	Dev       bool // The agent starts a cluster of its own if there is none.
	LogLevel  string
	LogJSON   bool
	Name      string // Of this agent; unique.
	Advertise string // Host at which other agents reach this one; empty: that of Consul's agent.

	HTTP      HTTP
	Metrics   Metrics
	Gateway   Gateway
	Activator Activator
	Nomad     Nomad
	Consul    Consul

	// QueueProxyTask is the Nomad task that runs the sidecar, in JSON. It is nil
	// in dev mode only, unless set.
	QueueProxyTask json.RawMessage
	// SidecarTask is the Nomad task that runs Envoy, in JSON; nil is Nomad's own.
	SidecarTask json.RawMessage
	Mesh        Mesh
	Assets      Assets

	Defaults    jobspecs.Defaults
	Limits      jobspecs.Limits
	MaxServices int // Of the installation: limits.max_services.
	Retention   Retention
	Telemetry   Telemetry
	Images      Images

	AdmissionRules rules.Rules
	Webhooks       []Webhook // In the order of the files.
}

// Webhook is an outside webhook of admission.
type Webhook struct {
	Name      string
	URL       string // https, or http of this machine.
	Kind      string // KindValidate or KindMutate.
	OnFailure string // OnFailureRefuse or OnFailureIgnore: what becomes of a submission without its answer.
	Timeout   time.Duration
	TLS       TLS
}

// The kinds of webhooks, and what becomes of submissions without their answers.
const (
	KindValidate    = "validate" // It judges services.
	KindMutate      = "mutate"   // It may change services too.
	OnFailureRefuse = "refuse"
	OnFailureIgnore = "ignore"
)

// Mesh has the settings of instances in the mesh.
type Mesh struct {
	// Shield closes the network of instances to callers that bypass Envoy. It applies to
	// services that are submitted from now on.
	Shield bool
}

// Assets is how Nomad's clients fetch the queue-proxy from agents.
type Assets struct {
	Dir  string   // Folder of the programs; empty: agents serve none.
	URL  string   // Where Nomad's clients reach agents' metrics listeners; empty: new revisions fetch nothing.
	Arch []string // Architectures that new revisions run on, as Nomad names them; none: that of the agent.
}

// Enabled reports whether agents serve programs.
func (a Assets) Enabled() bool { return a.Dir != "" }

// Telemetry has the settings of traces and logs of requests.
type Telemetry struct {
	// OTLPEndpoint is the collector of the agent's spans, by OTLP over HTTP: an http or
	// https URL without /v1/traces. Empty: no spans.
	OTLPEndpoint string
	// AccessLog makes the agent, and the queue-proxies of services that are submitted
	// from now on, write a line for each request to standard output.
	AccessLog bool
}

// Images has the settings of questions to registries, about the digests of images.
type Images struct {
	DockerConfig string        // File of credentials as docker login writes it; empty: none.
	Timeout      time.Duration // Of one question.
	CAFile       string        // Authorities of registries beside the system's.
	CertsDir     string        // Certificates by registry, as in /etc/docker/certs.d.
	// AllowNetworks are addresses to which a registry may lead although they are not public.
	AllowNetworks []netip.Prefix
	// InsecureRegistries may be asked by HTTP, or with any certificate: host or host:port.
	InsecureRegistries []string
}

// HTTP is the API's listener.
type HTTP struct {
	Address string // host:port
	Auth    wadi.Auth
	// AllowedHosts are further names by which callers may call the API: those of a load
	// balancer, or of Consul's DNS.
	AllowedHosts []string
	// RequestsPerSecond bounds each caller, and twice as many may come at once.
	RequestsPerSecond int
	TLS               HTTPTLS
}

// HTTPTLS has the files that make the API speak HTTPS.
type HTTPTLS struct {
	CertFile string // Empty: plain HTTP.
	KeyFile  string
	CAFile   string // Authorities of clients and of other agents' certificates; empty: the system's.
	// VerifyClient refuses clients without a certificate of CAFile.
	VerifyClient bool
}

// Enabled reports whether the API speaks HTTPS.
func (t HTTPTLS) Enabled() bool { return t.CertFile != "" }

// Metrics is the listener for Prometheus and statistics.
type Metrics struct {
	Address string // host:port
}

// Gateway is the listener for HTTP from outside the mesh.
type Gateway struct {
	Address        string // host:port
	PublicPort     int    // Port of its URLs, where a port mapping changes it; 0: that of Address.
	Domain         string
	TrustedProxies []netip.Prefix // Callers whose X-Forwarded headers are trusted.
	TLS            GatewayTLS
}

// GatewayTLS is the gateway's listener for HTTPS.
type GatewayTLS struct {
	Address    string // host:port
	PublicPort int    // Port of its URLs, where a port mapping changes it; 0: that of Address.
	CertDir    string // Folder of certificates and keys; empty: there is none.
	Redirect   bool   // The plain listener redirects callers here.
	ACME       ACME
}

// Enabled reports whether the listener is configured.
func (t GatewayTLS) Enabled() bool { return t.CertDir != "" || t.ACME.Enabled() }

// ACME is how agents obtain certificates for the domains of services (RFC 8555).
type ACME struct {
	AgreeTerms  bool          // To the authority's terms of service; required.
	Directory   string        // URL of the authority's directory.
	Email       string        // Where the authority reaches the operator; empty: nowhere.
	CAFile      string        // Who signs the directory's own certificate; empty: the system's authorities.
	Challenges  []string      // ChallengeHTTP, ChallengeTLSALPN: in turn, one at each attempt.
	RenewBefore time.Duration // Before a certificate expires; 0: when a third of its life is left.

	MaxDomains    int // With a certificate, of the installation.
	OrdersPerHour int // Of the installation.

	EncryptionKeyFile string // Of the key that private keys are encrypted with; empty: they are not.

	EABKeyID      string // Of an account that the authority knows otherwise; empty: none is needed.
	EABMACKeyFile string
}

// Enabled reports whether agents obtain certificates.
func (a ACME) Enabled() bool { return a.AgreeTerms }

// The ways in which an authority checks that a domain leads to the gateway.
const (
	ChallengeHTTP    = "http-01"     // By the plain listener, as port 80.
	ChallengeTLSALPN = "tls-alpn-01" // By the listener for HTTPS, as port 443 (RFC 8737).
)

// LetsEncrypt is the directory of Let's Encrypt.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// Activator has the mesh listener, and the bounds of waiting requests.
type Activator struct {
	Address         string // host:port
	MaxWaiting      int    // Requests, of all revisions.
	MaxWaitingBytes int64
	MaxWakes        int // Begun per second.
}

// TLS has the files to check a backend's certificate, and the client certificate.
type TLS struct {
	CAFile     string
	CertFile   string
	KeyFile    string
	SkipVerify bool // By environment only.
}

// Nomad has the address of Nomad, and the token for it.
type Nomad struct {
	Address string // http://, https:// or unix://
	Region  string
	Token   string // That of TokenFile, if there is one.
	TLS     TLS

	TokenFile string // Is read again at each reload.
}

// Consul has the address of Consul, the token for it, and the prefix of Wadi's keys.
type Consul struct {
	Address string // http://, https:// or unix://
	Token   string // That of TokenFile, if there is one.
	Prefix  string // Of all keys; ends in a slash.
	TLS     TLS

	TokenFile string // Is read again at each reload.

	// AllowIntentions lets callers that may submit a service set its intentions. Else
	// they need their own right to the intentions in Consul.
	AllowIntentions bool
}

// Retention bounds the revisions that are kept without traffic.
type Retention struct {
	KeepFor       time.Duration // Since their submission.
	KeepActiveFor time.Duration // Since they last had traffic.
	Max           int           // Revisions of one service.
}

// Flags are the flags of the command line; empty: not set.
type Flags struct {
	Dev            bool
	Name           string
	LogLevel       string
	HTTPAddress    string
	GatewayAddress string
	NomadAddress   string
	ConsulAddress  string

	MetricsAddress   string
	ActivatorAddress string
}

// Default is the configuration without any setting. Outside dev mode an agent can't start
// with it: the sidecar's task has no default.
func Default() Config {
	name, err := os.Hostname()
	if err != nil {
		name = "" // check reports it.
	}
	return Config{
		LogLevel:    "info",
		Name:        name,
		HTTP:        HTTP{Address: "127.0.0.1:4747", Auth: wadi.AuthNomad, RequestsPerSecond: 100},
		Metrics:     Metrics{Address: "0.0.0.0:4748"},
		Gateway:     Gateway{Address: "0.0.0.0:8080", Domain: "wadi.localhost", TLS: GatewayTLS{Address: "0.0.0.0:8443", ACME: defaultACME()}},
		Activator:   Activator{Address: "0.0.0.0:4749", MaxWaiting: 10_000, MaxWaitingBytes: 256 << 20, MaxWakes: 20},
		Nomad:       Nomad{Address: "http://127.0.0.1:4646"},
		Consul:      Consul{Address: "http://127.0.0.1:8500", Prefix: "wadi/"},
		Limits:      jobspecs.Limits{MaxInstances: 100, MaxRequestTimeout: time.Hour, MaxSpecBytes: 1 << 20},
		MaxServices: 1000,
		Images:      Images{Timeout: 10 * time.Second},
		Retention:   Retention{KeepFor: 48 * time.Hour, KeepActiveFor: 15 * time.Hour, Max: 1000},
	}
}

// defaultACME stays below Let's Encrypt's bound of 300 orders in three hours.
func defaultACME() ACME {
	return ACME{
		Directory: LetsEncrypt, Challenges: []string{ChallengeHTTP, ChallengeTLSALPN}, MaxDomains: 1000, OrdersPerHour: 80,
	}
}
