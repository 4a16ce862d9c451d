package agent

import (
	"context"
	"os/exec"
	"regexp"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/agent/doctor"
	"github.com/wadi-run/wadi/agent/network/mesh"
	"github.com/wadi-run/wadi/internal/survey"
)

// jobSettles is how long a job may be there before its service is stored: a submission
// registers all its jobs first.
const jobSettles = time.Minute

// openCluster makes what examines what all agents share.
func (a *Agent) openCluster(ctx context.Context) (*doctor.Cluster, error) {
	nomadConfig := surveyConfig(a.cfg.Nomad.Address, a.cfg.Nomad.TLS, survey.NomadToken, a.nomad.Token)
	nomadConfig.Region = a.cfg.Nomad.Region
	ofNomad, err := survey.New(nomadConfig)
	if err != nil {
		return nil, err
	}
	consulToken := func() string { return a.cfg.Consul.Token }
	ofConsul, err := survey.New(surveyConfig(a.cfg.Consul.Address, a.cfg.Consul.TLS, survey.ConsulToken, consulToken))
	if err != nil {
		return nil, err
	}
	return &doctor.Cluster{
		Nomad: ofNomad, Consul: ofConsul, Needs: a.needs(context.WithoutCancel(ctx)), Stray: a.stray, Log: a.log.Named("doctor"),
	}, nil
}

func surveyConfig(address string, t config.TLS, header string, token func() string) survey.Config {
	return survey.Config{Address: address, Header: header, Token: token,
		CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, SkipVerify: t.SkipVerify}
}

// needs returns what services need of the cluster.
func (a *Agent) needs(ctx context.Context) func() doctor.Needs {
	sidecar := sync.OnceValue(func() doctor.Sidecar {
		return doctor.SidecarOf(a.cfg.SidecarTask, func(program string) string { return installedEnvoy(ctx, program) })
	})
	return func() doctor.Needs {
		n := doctor.NeedsOf(a.cfg.Defaults.Service(), a.routing.all())
		n.QueueProxy, n.Sidecar = doctor.DriverOf(a.cfg.QueueProxyTask), sidecar()
		return n
	}
}

// envoyTimeout bounds the question to an Envoy for its version.
const envoyTimeout = 3 * time.Second

// envoyVersion finds the version in what Envoy says of itself, such as
// "envoy  version: dc2d3098…/1.36.4/Clean/RELEASE/BoringSSL".
var envoyVersion = regexp.MustCompile(`/([0-9]+\.[0-9]+\.[0-9]+)/`)

// installedEnvoy is the version of an Envoy on this machine; empty: there is none. Where
// agents run on the nodes it is that of the instances.
func installedEnvoy(ctx context.Context, program string) string {
	ctx, cancel := context.WithTimeout(ctx, envoyTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return ""
	}
	m := envoyVersion.FindSubmatch(out)
	if m == nil {
		return ""
	}
	return string(m[1])
}

// certFiles are the files of certificates that the configuration names.
func (a *Agent) certFiles() (out []doctor.CertFile) {
	for _, f := range []doctor.CertFile{
		{Setting: "nomad.ca_file", Path: a.cfg.Nomad.TLS.CAFile}, {Setting: "nomad.cert_file", Path: a.cfg.Nomad.TLS.CertFile},
		{Setting: "consul.ca_file", Path: a.cfg.Consul.TLS.CAFile}, {Setting: "consul.cert_file", Path: a.cfg.Consul.TLS.CertFile},
		{Setting: "http.tls.ca_file", Path: a.cfg.HTTP.TLS.CAFile}, {Setting: "http.tls.cert_file", Path: a.cfg.HTTP.TLS.CertFile},
	} {
		if f.Path != "" {
			out = append(out, f)
		}
	}
	return out
}

// stray finds what Wadi wrote and no service has. Services are read last: what was made
// meanwhile has one.
func (a *Agent) stray(ctx context.Context) ([]doctor.Stray, error) {
	jobs, err := a.nomad.InstalledJobs(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := mesh.Owned(ctx, a.consul)
	if err != nil {
		return nil, err
	}
	keys, services, err := a.store.Stray(ctx, a.consul)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, name := range append(services, wadi.Activators()...) {
		known[name] = true
	}
	var out []doctor.Stray
	for _, key := range keys {
		out = append(out, doctor.Stray{Kind: doctor.StrayKey, Name: key})
	}
	for service, of := range entries {
		for _, name := range of {
			if !known[service] {
				out = append(out, doctor.Stray{Kind: doctor.StrayEntry, Name: name})
			}
		}
	}
	own := a.installation.name()
	for _, j := range jobs {
		kind := doctor.StrayJob
		if own == "" || time.Since(j.Submitted) < jobSettles {
			continue
		}
		if j.Installation != own {
			kind = doctor.OtherJob
		} else if known[j.Service] {
			continue
		}
		out = append(out, doctor.Stray{Kind: kind, Name: j.ID + "@" + j.Namespace})
	}
	return out, nil
}
