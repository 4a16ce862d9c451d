package survey

import (
	"encoding/json"
	"strconv"
	"time"
)

// ImageGC is whether a client's Docker driver removes images, and how long after their last
// container. Nomad says it of the agent that is asked alone: no node has it among its
// attributes.
type ImageGC struct {
	On    bool
	Delay time.Duration
}

// defaultImageGC is Nomad's.
var defaultImageGC = ImageGC{On: true, Delay: 3 * time.Minute}

// plugin is a plugin block of an agent's configuration. Blocks within are lists.
type plugin struct {
	Name   string
	Config map[string]json.RawMessage
}

// imageGC is what a client does, by its plugin blocks and, where there is none of the driver,
// its options of before Nomad 0.9.
func imageGC(plugins []plugin, options map[string]string) ImageGC {
	out := defaultImageGC
	for _, p := range plugins {
		if p.Name == "docker" && len(p.Config) > 0 {
			out.read(p.Config["gc"])
			return out
		}
	}
	if on, err := strconv.ParseBool(options["docker.cleanup.image"]); err == nil {
		out.On = on
	}
	out.delay(options["docker.cleanup.image.delay"])
	return out
}

// read takes what a gc block says; the rest stays.
func (g *ImageGC) read(block json.RawMessage) {
	var all []map[string]any
	if json.Unmarshal(block, &all) != nil {
		var one map[string]any
		if json.Unmarshal(block, &one) != nil {
			return
		}
		all = append(all, one)
	}
	for _, gc := range all {
		switch on := gc["image"].(type) {
		case bool:
			g.On = on
		case string:
			if b, err := strconv.ParseBool(on); err == nil {
				g.On = b
			}
		}
		if d, ok := gc["image_delay"].(string); ok {
			g.delay(d)
		}
	}
}

func (g *ImageGC) delay(text string) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		g.Delay = d
	}
}
