package consultest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// fakeNode is the one node of the in-memory Consul.
const fakeNode = "node-1"

// agentRoutes are Consul's agent, its sessions, and the catalog of one node without ACLs,
// config entries and Connect. A TTL check passes until its service is deregistered or
// [Fake.Lose] is called.
func (f *Fake) agentRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/status/leader", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode("127.0.0.1:8300") })
	mux.HandleFunc("GET /v1/agent/self", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"Config": map[string]string{"NodeName": fakeNode, "Datacenter": "dc1", "Version": "1.22.0"}, "Member": map[string]string{"Addr": "127.0.0.1"},
			"DebugConfig": map[string]string{"DefaultIntentionPolicy": "allow"},
		})
	})
	mux.HandleFunc("GET /v1/agent/checks", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) })
	mux.HandleFunc("PUT /v1/agent/service/register", f.register)
	mux.HandleFunc("PUT /v1/agent/service/deregister/{id}", f.deregister)
	mux.HandleFunc("PUT /v1/agent/check/update/{check}", f.passCheck)
	mux.HandleFunc("GET /v1/health/service/{name}", f.health)
	mux.HandleFunc("PUT /v1/session/destroy/{id}", f.destroySession)
	mux.HandleFunc("GET /v1/session/info/{id}", f.sessionInfo)
	mux.HandleFunc("GET /v1/config/{kind}", func(w http.ResponseWriter, r *http.Request) {
		f.block(w, r, func() any { return []any{} })
	})
	mux.HandleFunc("GET /v1/config/{kind}/{name}", http.NotFound)
	mux.HandleFunc("GET /v1/connect/intentions/match", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) })
	mux.HandleFunc("POST /v1/internal/acl/authorize", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "ACL support disabled", http.StatusUnauthorized)
	})
}

// Registered returns the IDs of the registered instances of a service, sorted.
func (f *Fake) Registered(service string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for id, s := range f.services {
		if s.Name == service {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Lose makes the check of a registered instance critical, as when its agent has died.
func (f *Fake) Lose(id string) {
	f.change(func() { f.index++; f.lost[id] = true })
}

func (f *Fake) register(w http.ResponseWriter, r *http.Request) {
	var reg api.AgentServiceRegistration
	if err := json.NewDecoder(r.Body).Decode(&reg); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.change(func() {
		f.index++
		f.services[reg.ID] = reg
		delete(f.lost, reg.ID)
	})
}

func (f *Fake) deregister(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	f.change(func() {
		if _, ok := f.services[id]; !ok {
			http.Error(w, fmt.Sprintf("Unknown service ID %q", id), http.StatusNotFound)
			return
		}
		f.index++
		delete(f.services, id)
	})
}

// passCheck knows the check of a service by its ID, which has the service's in it.
func (f *Fake) passCheck(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.services {
		if f.services[id].Check != nil && f.services[id].Check.CheckID == r.PathValue("check") {
			return
		}
	}
	http.Error(w, fmt.Sprintf("Unknown check ID %q", r.PathValue("check")), http.StatusNotFound)
}

func (f *Fake) health(w http.ResponseWriter, r *http.Request) {
	name, passing := r.PathValue("name"), r.URL.Query().Has("passing")
	f.block(w, r, func() any {
		all := []api.ServiceEntry{}
		for id, s := range f.services {
			status := api.HealthPassing
			if f.lost[id] {
				status = api.HealthCritical
			}
			if s.Name != name || passing && status != api.HealthPassing {
				continue
			}
			all = append(all, api.ServiceEntry{
				Node:    &api.Node{Node: fakeNode, Address: "127.0.0.1"},
				Service: &api.AgentService{ID: id, Service: s.Name, Address: s.Address, Port: s.Port, Meta: s.Meta},
				Checks:  api.HealthChecks{{Node: fakeNode, CheckID: "service:" + id, Status: status}},
			})
		}
		slices.SortFunc(all, func(a, b api.ServiceEntry) int { return strings.Compare(a.Service.ID, b.Service.ID) })
		return all
	})
}

func (f *Fake) destroySession(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	f.change(func() {
		f.index++
		delete(f.sessions, id)
		for key, p := range f.pairs {
			if p.Session == id {
				p.Session, p.ModifyIndex = "", f.index
				f.pairs[key] = p
			}
		}
	})
	_, _ = w.Write([]byte("true"))
}

func (f *Fake) sessionInfo(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := []api.SessionEntry{}
	if s, ok := f.sessions[r.PathValue("id")]; ok {
		all = append(all, s)
	}
	_ = json.NewEncoder(w).Encode(all)
}

// block answers a blocking query: at once if its index is not the present one. read is
// called with the mutex held.
func (f *Fake) block(w http.ResponseWriter, r *http.Request, read func() any) {
	index, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
	late := time.NewTimer(wait)
	defer late.Stop()
	for waiting := true; ; {
		f.mu.Lock()
		out, last, changed := read(), f.index, f.changed
		f.mu.Unlock()
		if index == 0 || last != index || !waiting {
			w.Header().Set("X-Consul-Index", strconv.FormatUint(last, 10))
			_ = json.NewEncoder(w).Encode(out)
			return
		}
		select {
		case <-changed:
		case <-late.C:
			waiting = false
		case <-r.Context().Done():
			return
		}
	}
}
