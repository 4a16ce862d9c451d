package agent

import (
	"context"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/authz"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/mesh"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/registry"
	"github.com/wadi-run/wadi/internal/store"
)

// clients are the clients of Consul and Nomad, and what reads from them all the time.
type clients struct {
	consul  *consul.Client
	nomad   *nomad.Client
	watcher *nomad.Watcher
	store   *store.Store
	changes *store.Changes
	mesh    *mesh.Source
}

// openClients makes the clients, and the parts that only need them.
func (a *Agent) openClients(context.Context) (err error) {
	c := a.cfg
	a.consul, err = newConsul(c.Consul)
	if err != nil {
		return err
	}
	a.nomad, err = newNomad(c.Nomad)
	if err != nil {
		return err
	}
	a.opened.push("connections to Nomad", a.nomad.Close)
	a.registries, err = registry.New(registry.Options{Settings: registrySettings(c), Registerer: a.reg})
	if err != nil {
		return err
	}
	a.store = store.New(a.consul, c.Consul.Prefix, c.Name, a.log.Named("store"))
	a.changes = store.NewChanges(a.store)
	a.installation = &installation{store: a.store}
	a.mesh = &mesh.Source{API: a.consul.API, Services: wadi.Activators(), Log: a.log.Named("mesh")}
	a.leadership = &leadership{log: a.log}
	a.guard = authz.New(a.consul, a.routing.all, a.log.Named("intentions"))
	a.watcher = &nomad.Watcher{Client: a.nomad, Log: a.log.Named("nomad"), Namespaces: a.routing.namespaces, Reread: a.reread}
	return nil
}

func newConsul(c config.Consul) (*consul.Client, error) {
	return consul.New(consul.Config{
		Address: c.Address, Token: c.Token,
		CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, SkipVerify: c.TLS.SkipVerify,
	})
}

func newNomad(c config.Nomad) (*nomad.Client, error) {
	return nomad.New(nomad.Config{
		Address: c.Address, Token: c.Token, Region: c.Region,
		CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, SkipVerify: c.TLS.SkipVerify,
	})
}

// reread takes in a job's modify index from a full read.
func (a *Agent) reread(namespace, revision string, index uint64) {
	if own, ok := a.routing.namespaceOf(revision); ok && own == namespace {
		a.owned.Reread(revision, index)
	}
}
