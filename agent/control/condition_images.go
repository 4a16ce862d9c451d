package control

import (
	"fmt"

	"github.com/wadi-run/wadi"
)

// ConditionImages is the type of the condition that the newest revision's images have digests:
// that all its instances run the same. It is shown only while it is false.
const ConditionImages = "ImagesResolved"

// imagesCondition is about the user's tasks. A service that has resolve_images = "off" wants
// it so.
func imagesCondition(s *service) (c wadi.Condition, pinned bool) {
	rev, image, ok := unresolved(s)
	if !ok {
		return c, true
	}
	return wadi.Condition{Type: ConditionImages, Reason: "Unresolved", Message: fmt.Sprintf(
		"%s: image of task %s: %s", rev, image.Task, image.Warning)}, false
}

// unresolved is the first image without a digest of the newest revision.
func unresolved(s *service) (revision string, image wadi.Image, ok bool) {
	for i := range s.Revisions {
		r := &s.Revisions[i]
		if r.ID != s.Latest || r.Spec.ResolveImages == wadi.ResolveOff {
			continue
		}
		for _, image := range r.Images {
			if image.Warning != "" && image.Digest == "" && !wadi.OwnTask(image.Task) {
				return r.ID, image, true
			}
		}
	}
	return "", wadi.Image{}, false
}

// addImageEvents makes an event of each of a new revision's images that has no digest, or
// one that its registry was not asked for.
func (c *Controller) addImageEvents(s *service, revision string) {
	for i := range s.Revisions {
		for _, image := range s.Revisions[i].Images {
			if s.Revisions[i].ID == revision && image.Warning != "" && !wadi.OwnTask(image.Task) {
				c.Events.Add(s.Service.Name, revision, EventImage, fmt.Sprintf("image of task %s: %s", image.Task, image.Warning))
			}
		}
	}
}
