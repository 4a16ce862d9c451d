package agent

import (
	"context"
	"fmt"
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
func (a *Agent) openCluster(ctx context.Context) *doctor.Cluster {
	return &doctor.Cluster{Readers: a.surveyors, Needs: a.needs(context.WithoutCancel(ctx)), Stray: a.stray, Log: a.log.Named("doctor")}
}

// surveyors read from Nomad and Consul with the tokens and the certificates that are in force.
func (a *Agent) surveyors() (ofNomad, ofConsul *survey.HTTP, err error) {
	c := a.inForce()
	n := surveyConfig(c.Nomad.Address, c.Nomad.TLS, survey.NomadToken, a.nomad.Token)
	n.Region = c.Nomad.Region
	if ofNomad, err = survey.New(n); err != nil {
		return nil, nil, fmt.Errorf("nomad: %w", err)
	}
	token := func() string { return c.Consul.Token }
	if ofConsul, err = survey.New(surveyConfig(c.Consul.Address, c.Consul.TLS, survey.ConsulToken, token)); err != nil {
		return nil, nil, fmt.Errorf("consul: %w", err)
	}
	return ofNomad, ofConsul, nil
}

func surveyConfig(address string, t config.TLS, header string, token func() string) survey.Config {
	return survey.Config{Address: address, Header: header, Token: token,
		CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, SkipVerify: t.SkipVerify}
}

// needs returns what services need of the cluster.
func (a *Agent) needs(ctx context.Context) func() doctor.Needs {
	var mu sync.Mutex
	var task string // Of the sidecar, for which Envoy was asked for its version.
	var sidecar doctor.Sidecar
	return func() doctor.Needs {
		c := a.inForce()
		n := doctor.NeedsOf(c.Defaults.Service(), a.routing.all())
		n.QueueProxy = doctor.DriverOf(c.QueueProxyTask)
		mu.Lock()
		defer mu.Unlock()
		if sidecar.Driver == "" || task != string(c.SidecarTask) {
			task = string(c.SidecarTask)
			sidecar = doctor.SidecarOf(c.SidecarTask, func(program string) string { return installedEnvoy(ctx, program) })
		}
		n.Sidecar = sidecar
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
	c := a.inForce()
	for _, f := range []doctor.CertFile{
		{Setting: "nomad.ca_file", Path: c.Nomad.TLS.CAFile}, {Setting: "nomad.cert_file", Path: c.Nomad.TLS.CertFile},
		{Setting: "consul.ca_file", Path: c.Consul.TLS.CAFile}, {Setting: "consul.cert_file", Path: c.Consul.TLS.CertFile},
		{Setting: "images.ca_file", Path: c.Images.CAFile},
		{Setting: "http.tls.ca_file", Path: c.HTTP.TLS.CAFile}, {Setting: "http.tls.cert_file", Path: c.HTTP.TLS.CertFile},
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
