//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/internal/devcluster"
	"github.com/wadi-run/wadi/internal/devcluster/docker"
	"github.com/wadi-run/wadi/internal/toolchain"
)

// devCluster uses the Nomad and Consul that are reachable, or starts both.
func (c *call) devCluster(ctx context.Context, f config.Flags, bin string) (*devcluster.Cluster, func() error, error) {
	nomad := cmp.Or(f.NomadAddress, c.setting("NOMAD_ADDR", "http://127.0.0.1:4646"))
	consul := cmp.Or(f.ConsulAddress, c.setting("CONSUL_HTTP_ADDR", "http://127.0.0.1:8500"))
	if !strings.Contains(consul, "://") {
		consul = "http://" + consul
	}
	haveNomad, haveConsul := reachable(ctx, nomad+"/v1/status/leader"), reachable(ctx, consul+"/v1/status/leader")
	switch {
	case haveNomad && haveConsul:
		c.printf("Using the Nomad at %s and the Consul at %s.\n", nomad, consul)
		cluster := devcluster.Existing(nomad, consul)
		c.printNetworks(cluster)
		return cluster, func() error { return nil }, nil
	case haveNomad:
		return nil, nil, fmt.Errorf("a Nomad answers at %s, but no Consul at %s: start one, or name it with CONSUL_HTTP_ADDR", nomad, consul)
	case haveConsul:
		return nil, nil, fmt.Errorf("a Consul answers at %s, but no Nomad at %s: start one, or name it with NOMAD_ADDR", consul, nomad)
	}
	return c.startCluster(ctx, bin)
}

// startCluster starts a Nomad and a Consul as children of this process.
func (c *call) startCluster(ctx context.Context, bin string) (*devcluster.Cluster, func() error, error) {
	tools, missing := toolchain.Locate(ctx)
	for _, m := range missing {
		fmt.Fprintf(c.stderr, "Missing %s\n", m)
	}
	if tools.Nomad == "" || tools.Consul == "" {
		return nil, nil, errors.New("no cluster is reachable, and there is no Nomad and Consul to start; \"make tools\" in a checkout of Wadi gets them")
	}
	engine, whyNone := docker.Find(ctx, os.Getenv)
	c.printf("Starting Consul and Nomad …\n")
	began := time.Now()
	cfg := devcluster.Config{
		Tools: tools, Ports: devcluster.DefaultPorts(), Path: []string{bin}, MaxKillTimeout: time.Hour,
		Log: hclog.New(&hclog.LoggerOptions{Name: "cluster", Level: hclog.Warn, Output: c.stderr}),
	}
	if engine != nil {
		cfg.Docker, cfg.DockerEndpoint = true, engine.Endpoint
		cfg.PauseProgram = []string{filepath.Join(bin, "queue-proxy"), "-pause"}
	}
	cluster, err := devcluster.Start(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	c.printf("Consul and Nomad are up after %.1f s.\n", time.Since(began).Seconds())
	c.printNetworks(cluster)
	c.printDocker(cluster, engine, whyNone)
	return cluster, func() error {
		c.printf("Stopping: jobs, Nomad, Consul …\n")
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err := cluster.Stop(bound)
		if err == nil {
			c.printf("Stopped; nothing is left behind.\n")
		}
		return err
	}, nil
}

// printNetworks says what services can't have on this cluster, and why.
func (c *call) printNetworks(cluster *devcluster.Cluster) {
	switch {
	case !cluster.Bridge:
		c.printf("Services run in host networks without the mesh: %s.\n", cluster.WhyNot)
	case !cluster.Mesh:
		c.printf("Services run without the mesh: %s.\n", cluster.WhyNot)
	}
}

// printDocker says whether services can be containers, and of which engine.
func (c *call) printDocker(cluster *devcluster.Cluster, engine *docker.Engine, whyNone error) {
	switch {
	case engine == nil:
		c.printf("No services with the driver docker: %v.\n", whyNone)
	case cluster.WhyNoDocker != "":
		c.printf("No services with the driver docker: Nomad says of %s at %s: %s.\n", engine.Name, engine.Endpoint, cluster.WhyNoDocker)
	default:
		c.printf("Services with the driver docker run in %s at %s.\n", engine.Name, engine.Endpoint)
	}
}

// reachable reports whether a GET is answered with 200.
func reachable(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}
