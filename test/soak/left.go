package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	consul "github.com/hashicorp/consul/api"
	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/test/harness"
)

// leaveWithin bounds the end of all services: each drains, and a loaded machine takes its time.
const leaveWithin = 2 * time.Minute

// remove deletes all services, and waits until nothing of them is left.
func (s *soaking) remove(ctx context.Context) error {
	all, err := s.stack.Agent.Client.Services(ctx)
	if err != nil {
		return fmt.Errorf("list services: %w", err)
	}
	var errs []error
	for _, svc := range all {
		if err := s.stack.Agent.Delete(ctx, svc.Name); err != nil {
			errs = append(errs, fmt.Errorf("delete %s: %w", svc.Name, err))
		}
	}
	return errors.Join(append(errs, harness.Eventually(ctx, leaveWithin, func() error { return s.left(ctx) }))...)
}

// left is an error that names what is left of deleted services.
func (s *soaking) left(ctx context.Context) error {
	var found []string
	jobs, _, err := s.stack.Nomad.Jobs().List((&nomad.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return err
	}
	for _, j := range jobs {
		found = append(found, "job "+j.ID)
	}
	allocs, _, err := s.stack.Nomad.Allocations().List((&nomad.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return err
	}
	for _, a := range allocs {
		if a.ClientStatus == nomad.AllocClientStatusRunning || a.ClientStatus == nomad.AllocClientStatusPending {
			found = append(found, fmt.Sprintf("allocation %.8s of %s", a.ID, a.JobID))
		}
	}
	inConsul, err := s.leftInConsul(ctx)
	if err != nil {
		return err
	}
	if found = append(found, inConsul...); len(found) > 0 {
		return fmt.Errorf("left of the services: %s", strings.Join(found, ", "))
	}
	return nil
}

// staying are keys, and folders of keys, that belong to no service.
var staying = []string{"leader", "installation", "takeover", "events"}

func (s *soaking) leftInConsul(ctx context.Context) (found []string, err error) {
	q := (&consul.QueryOptions{}).WithContext(ctx)
	keys, _, err := s.stack.Consul.KV().Keys("wadi/", "", q)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if folder, _, _ := strings.Cut(strings.TrimPrefix(k, "wadi/"), "/"); !slices.Contains(staying, folder) {
			found = append(found, "key "+k)
		}
	}
	for _, kind := range []string{consul.ServiceDefaults, consul.ServiceResolver, consul.ServiceSplitter, consul.ServiceRouter, consul.ServiceIntentions} {
		entries, _, err := s.stack.Consul.ConfigEntries().List(kind, q)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.GetName(), "wadi") {
				found = append(found, kind+" "+e.GetName())
			}
		}
	}
	names, _, err := s.stack.Consul.Catalog().Services(q)
	if err != nil {
		return nil, err
	}
	for name := range names {
		if name != "consul" && !strings.HasPrefix(name, "nomad") && !strings.HasPrefix(name, "wadi") {
			found = append(found, "service "+name)
		}
	}
	return found, nil
}
