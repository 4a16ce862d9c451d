package devcluster

import (
	"cmp"
	"context"
	"fmt"
	"os"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/internal/devcluster/docker"
)

const driverDocker = "docker"

// useEngine has the slot remove what Nomad makes in the engine, and makes the pause image. It
// completes the configuration.
func (c *Cluster) useEngine(ctx context.Context, cfg *Config) error {
	if !cfg.Docker {
		return nil
	}
	c.docker = true
	engine, err := docker.Open(cmp.Or(cfg.DockerEndpoint, os.Getenv("DOCKER_HOST"), docker.DefaultEndpoint))
	if err != nil {
		return fmt.Errorf("use the Docker engine: %w", err)
	}
	if err := c.slot.UseEngine(engine); err != nil {
		return err
	}
	if cfg.InfraImage != "" || len(cfg.PauseProgram) == 0 || !c.Bridge {
		return nil
	}
	if err := c.slot.MakePauseImage(ctx, engine, cfg.PauseProgram[0], cfg.PauseProgram[1:]...); err != nil {
		c.log.Warn("no pause image was made, so docker tasks in bridge networks need that of nomad, from its registry", "error", err)
		return nil
	}
	cfg.InfraImage = c.slot.PauseImage()
	return nil
}

// dockerTried is an error while the node has not tried its Docker driver.
func (c *Cluster) dockerTried(node *nomad.Node) error {
	if d := node.Drivers[driverDocker]; c.docker && (d == nil || d.HealthDescription == "") {
		return fmt.Errorf("driver %s has not been tried", driverDocker)
	}
	return nil
}

// noteDocker notes whether the driver works.
func (c *Cluster) noteDocker(ctx context.Context) error {
	if !c.docker {
		return nil
	}
	node, err := c.node(ctx)
	if err != nil {
		return fmt.Errorf("look at driver %s: %w", driverDocker, err)
	}
	if d := node.Drivers[driverDocker]; d != nil && !d.Healthy {
		c.WhyNoDocker = cmp.Or(d.HealthDescription, "it is not healthy")
	}
	return nil
}
