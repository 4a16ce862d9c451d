package jobspecs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
)

// Hash identifies a revision: it covers the parsed instance, and every setting that is not
// changed in place. Two specs with the same hash are the same revision. Layout, comments,
// the order of maps and settings with zero values do not count.
func Hash(s wadi.Service) string {
	// Changed in place: these belong to the service, not to a revision.
	s.Scale, s.Traffic, s.Retention, s.Meta = wadi.Scaling{}, nil, wadi.Retention{}, nil
	s.Domains, s.Visibility, s.Intentions, s.ResolveImages = nil, "", nil, ""
	s.ImagePrefetch, s.Sticky, s.Mirror, s.Routes = false, nil, nil, nil
	s.Rollout = nil
	s.Queue = wadi.Queue{Quiet: slices.Sorted(slices.Values(s.Queue.Quiet))}
	s.Datacenters = slices.Sorted(slices.Values(s.Datacenters))
	s.Upstreams = slices.Clone(s.Upstreams)
	slices.SortFunc(s.Upstreams, func(a, b wadi.Upstream) int { return strings.Compare(a.Service, b.Service) })

	instance := s.Instance
	s.Instance = nil
	o, err := asObject(s)
	if err != nil {
		return "" // A Service without its instance always marshals.
	}
	dropZeros(o)
	// A grpc probe of the whole app has an empty name, which differs from no probe.
	if s.Probe.GRPC != nil {
		inner(o, "probe")["grpc"] = *s.Probe.GRPC
	}
	if len(instance) > 0 {
		if group, err := toObject(instance); err == nil {
			o["instance"] = group
		} else {
			o["instance"] = string(instance)
		}
	}
	data, err := json.Marshal(o)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// RevisionHash is Hash of a service whose images have these digests. A digest that is in
// the spec counts there already.
func RevisionHash(s wadi.Service, images []wadi.Image) string {
	hash := Hash(s)
	var digests []string
	for _, i := range images {
		if i.Resolved() && !wadi.OwnTask(i.Task) { // The agent's own tasks make no revision.
			digests = append(digests, i.Task+"="+i.Digest)
		}
	}
	if len(digests) == 0 {
		return hash
	}
	slices.Sort(digests)
	sum := sha256.Sum256([]byte(hash + "\x00" + strings.Join(digests, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// dropZeros removes zero values, so that a setting which a later Wadi adds changes no hash
// while it is not used.
func dropZeros(o object) {
	for k, v := range o {
		if m, ok := v.(object); ok {
			if dropZeros(m); len(m) == 0 {
				delete(o, k)
			}
			continue
		}
		if isZero(v) {
			delete(o, k)
		}
	}
}

func isZero(v any) bool {
	switch v := v.(type) {
	case bool:
		return !v
	case []any:
		return len(v) == 0
	case string:
		return v == "" || v == "0s"
	case json.Number:
		return v == "0"
	}
	return false
}

// inPlace are the settings that belong to a service, not to a revision: [Hash] leaves them
// out.
var inPlace = []string{
	"scale", "traffic", "retention", "meta", "domains", "visibility", "intentions", "queue.depth", "queue.timeout",
	"resolve_images", "image_prefetch", "sticky", "mirror", "route", "rollout",
}

// InPlace reports whether a change of the setting makes no new revision. path is the
// setting's name in HCL, for instance scale.max or queue.depth.
func InPlace(path string) bool {
	return slices.ContainsFunc(inPlace, func(p string) bool {
		rest, ok := strings.CutPrefix(path, p)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == ' ')
	})
}
