package slot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/wadi-run/wadi/internal/devcluster/docker"
)

// engineFile holds the endpoint of the Docker engine that the slot's cluster uses.
const engineFile = "docker-engine"

// pauseRepository is the name of the images that hold the networks of groups of
// containers, one for each slot: a cluster that ends takes none from another.
const pauseRepository = "localhost/wadi-dev/pause"

// PauseImage is the name of the slot's image.
func (s *Slot) PauseImage() string { return pauseRepository + ":" + strconv.Itoa(s.n) }

// UseEngine notes the Docker engine that runs containers of this slot, so that Release, or
// the next cluster, removes them. It must be called before Nomad starts.
func (s *Slot) UseEngine(e *docker.Engine) error {
	if err := os.WriteFile(filepath.Join(s.Dir, engineFile), []byte(e.Endpoint), 0o600); err != nil {
		return fmt.Errorf("note the Docker engine: %w", err)
	}
	return nil
}

// MakePauseImage makes the slot's image of a static program and its arguments.
func (s *Slot) MakePauseImage(ctx context.Context, e *docker.Engine, program string, args ...string) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("make image %s: %w", s.PauseImage(), err)
	}
	return e.MakeImage(ctx, pauseRepository, strconv.Itoa(s.n), content, args...)
}

// removeContainers removes the cluster's containers, which Nomad's end leaves running,
// and the slot's image. An engine that does not run any more can't be asked, and nothing
// runs in it.
func (s *Slot) removeContainers(ctx context.Context, allocations []string) error {
	endpoint, err := os.ReadFile(filepath.Join(s.Dir, engineFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove containers: %w", err)
	}
	e, err := docker.Open(string(endpoint))
	if err != nil {
		return fmt.Errorf("remove containers: %w", err)
	}
	err = errors.Join(e.RemoveContainers(ctx, docker.Owner{Allocations: allocations, Image: s.PauseImage(), Dir: s.Dir}), e.RemoveImage(ctx, s.PauseImage()))
	if errors.Is(err, docker.ErrAway) {
		s.log.Warn("the Docker engine is away, so containers and images of this cluster may come back with it", "endpoint", e.Endpoint)
		return nil
	}
	return err
}
