//go:build e2e

// Package acme_test proves that agents obtain and renew certificates for the domains that
// services claim, with a real certificate authority: Pebble, of Let's Encrypt.
//
// All tests share one cluster with two agents, which listen on the same ports of two
// addresses: the authority's DNS decides which of them it asks about a domain. The first
// leads. The tests run one after the other, as they change the authority and the agents.
package acme_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"

	"github.com/wadi-run/wadi/internal/acme/acmetest"
	"github.com/wadi-run/wadi/internal/apitls/certtest"
	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// hosts are the addresses of the agents' gateways.
var hosts = [2]string{"127.0.0.1", "127.0.0.2"}

// folderDomain is a domain with a certificate in the folder of the agents.
const folderDomain = "folder.example.com"

// What all tests share.
var (
	stack     *harnesstest.Stack
	authority *acmetest.Authority
	agents    [2]*harness.Agent
	ports     []int // Plain, and over TLS.
	dir       string
)

func TestMain(m *testing.M) {
	code := 1
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = harnesstest.Run(m, &stack, harnesstest.Options{Stack: harness.Options{Extra: gateway(0, "http-01")}, Ready: startSecond})
		authority.Close()
	}
	_ = os.RemoveAll(dir) // It is the system's folder for such files.
	os.Exit(code)
}

func prepare() (err error) {
	if dir, err = os.MkdirTemp("", "wadi-acme-"); err != nil {
		return err
	}
	if ports, err = freeport.Ports(2); err != nil {
		return err
	}
	for _, sub := range []string{"authority", "certs"} {
		if err := os.Mkdir(dir+"/"+sub, 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(dir+"/acme.key", []byte("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n"), 0o600); err != nil {
		return err
	}
	signer, err := certtest.Make()
	if err != nil {
		return err
	}
	if _, err := signer.Write(dir+"/certs", 4711, folderDomain); err != nil {
		return err
	}
	authority, err = acmetest.New(dir+"/authority", acmetest.Options{HTTPPort: ports[0], TLSPort: ports[1]})
	return err
}

// gateway is the configuration of an agent's gateway.
func gateway(agent int, challenge string) string {
	return fmt.Sprintf(`gateway {
  address = %q
  tls {
    address  = %q
    cert_dir = %q
    acme {
      agree_terms         = true
      directory           = %q
      ca_file             = %q
      email               = "ops@example.com"
      challenges          = [%q]
      encryption_key_file = %q
    }
  }
}
`, address(agent, 0), address(agent, 1), dir+"/certs", authority.Directory, authority.CAFile, challenge, dir+"/acme.key")
}

// address is that of an agent's gateway: 0 the plain one, 1 the one over TLS.
func address(agent, listener int) string {
	return net.JoinHostPort(hosts[agent], strconv.Itoa(ports[listener]))
}

func startSecond(ctx context.Context) (err error) {
	agents[0] = stack.Agent
	if agents[1], err = stack.NewAgent("wadi-2", gateway(1, "http-01")); err != nil {
		return err
	}
	for i, a := range agents {
		a.Gateway = address(i, 0)
	}
	if err := agents[1].Start(ctx); err != nil {
		return err
	}
	return agents[1].WaitLeader(ctx)
}
