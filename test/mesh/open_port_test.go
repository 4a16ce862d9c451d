//go:build e2e

package mesh_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// A neighbour reaches an app that listens on all addresses past its Envoy, and the
// service's status says so. The example app listens on loopback, so it is not reachable.
func TestOpenPort_IsReported(t *testing.T) {
	t.Parallel()
	deploy(t, hello("wide", options{initial: 1, min: 1, env: map[string]string{"ADDR": "0.0.0.0"}})+
		hello("narrow", options{initial: 1, min: 1}))
	for _, tt := range []struct {
		service string
		wide    bool
	}{{"wide", true}, {"narrow", false}} {
		conn, err := callerA.Dial(t.Context(), net.JoinHostPort(addressOf(t, tt.service+"-00001"), "8080"))
		if err == nil {
			_ = conn.Close() // Nothing was sent.
		}
		if tt.wide != (err == nil) {
			t.Errorf("a neighbour dials the app of %s: %v", tt.service, err)
		}
		eventually(t, waitLong, func() error {
			s, err := stack.Agent.Client.Service(t.Context(), tt.service)
			if err != nil {
				return err
			}
			message := ""
			for _, c := range s.Status.Conditions {
				if c.Type == "Shielded" {
					message = c.Message
				}
			}
			events := 0
			for _, e := range s.Status.Events {
				if e.Type == "ListensWide" {
					events++
				}
			}
			if tt.wide != strings.Contains(message, "the app listens on *:8080") || tt.wide != (events == 1) {
				return fmt.Errorf("%s: the status says %q, in %d events", tt.service, message, events)
			}
			return nil
		})
	}
}

// addressOf is the address of a revision's instance in its bridge network.
func addressOf(t *testing.T, revision string) (addr string) {
	t.Helper()
	eventually(t, waitLong, func() error {
		allocs, err := stack.Allocs(t.Context(), revision)
		if err != nil {
			return err
		}
		for _, a := range allocs {
			alloc, _, err := stack.Nomad.Allocations().Info(a.ID, nil)
			if err != nil {
				return err
			}
			if alloc.NetworkStatus != nil && alloc.NetworkStatus.Address != "" {
				addr = alloc.NetworkStatus.Address
				return nil
			}
		}
		return fmt.Errorf("%d instances of %s, none with an address", len(allocs), revision)
	})
	return addr
}
