package admission

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/wadi-run/wadi/agent/admission/images"
)

// readConfigs reads the config of the image that serves, for candidates that make a revision.
// It only helps: what goes wrong is for the log.
func (a *Admission) readConfigs(ctx context.Context, news []*candidate) {
	var group errgroup.Group
	group.SetLimit(maxQuestions)
	for _, c := range news {
		t, ok := images.Inspectable(c.service, c.images)
		answer := c.answers[t.Ask]
		if !ok || answer.Err != nil || answer.Digest == "" {
			continue
		}
		group.Go(func() error {
			config, err := a.Registries.Config(ctx, t.Ask, answer.Digest)
			if err != nil {
				a.Log.Debug("the config of an image was not read", "service", c.service.Name, "image", t.Ask, "error", err)
				return nil
			}
			c.health = images.HealthcheckWarning(t, config)
			return nil
		})
	}
	_ = group.Wait() // It has no errors.
}
