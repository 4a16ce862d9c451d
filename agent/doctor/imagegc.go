package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/survey"
)

const (
	// keepImages is how long a node should keep the image of a service at zero, at least: a
	// night.
	keepImages = 12 * time.Hour
	// sameStart is how far pulls for instances that start at once are apart, at most.
	sameStart = time.Minute
)

// keepRemedy is the block that keeps images.
const keepRemedy = `set plugin "docker" { config { gc { image_delay = "168h" } } } in the configuration of every Nomad client, ` +
	`or gc { image = false } where something else removes images, and restart Nomad there (docs/operations.md)`

// checkImageGC looks at the Docker driver of the Nomad client at this agent's address, where
// every instance has a container of Wadi's. Without agent:read nothing is known of it; what
// nodes pull again tells then.
func (d *Doctor) checkImageGC(ctx context.Context) []wadi.Finding {
	if d.Cluster == nil || !d.Cluster.Needs().docker() {
		return nil
	}
	ofNomad, ofConsul, err := d.Cluster.Readers()
	if err != nil {
		return nil // The cluster's report has it.
	}
	defer ofNomad.Close()
	defer ofConsul.Close()
	return aboutImageGC(survey.AskNomadAgent(ctx, ofNomad))
}

// docker reports whether every instance, or every one in the mesh, has a container of Docker.
func (n Needs) docker() bool {
	return n.QueueProxy == wadi.DriverDocker || n.Mesh && n.Sidecar.Driver == wadi.DriverDocker
}

// aboutImageGC judges how long a client keeps images.
func aboutImageGC(agent survey.Known[survey.NomadAgent]) []wadi.Finding {
	gc := agent.Value.ImageGC
	if agent.Err != nil || !gc.On || gc.Delay >= keepImages {
		return nil
	}
	return []wadi.Finding{{Level: wadi.LevelWarn, About: aboutNomad,
		What: fmt.Sprintf("the client at this agent's nomad.address removes an image %s after its last container: "+
			"a service that was at zero for longer pulls its images again before it starts", wadi.Duration(gc.Delay).Short()),
		Remedy: keepRemedy}}
}

// pulledAgain is the kind of what is logged of images.
const pulledAgain Kind = "image"

// checkPulls looks for images that nodes pull again and again. The images of users' tasks are
// known by their pulls alone: the client's own word counts then, too.
func (c *Cluster) checkPulls(ctx context.Context, r survey.Reader, n survey.Nomad, needs Needs) (out []wadi.Finding) {
	if n.Nodes.Value.With(wadi.DriverDocker) == 0 {
		return nil
	}
	pulls := survey.Pulls(ctx, r)
	if len(pulls.Value) > 0 && !needs.docker() {
		out = aboutImageGC(n.Agent)
	}
	byNode := again(pulls.Value)
	var names []string
	for node, images := range byNode {
		names = append(names, node+": "+strings.Join(images, ", "))
	}
	slices.Sort(names)
	c.logNew(pulledAgain, names, "images were pulled again by nodes that had them")
	return append(out, aboutPulledAgain(byNode)...)
}

// again are the images that nodes pulled though they had had them, by node, sorted. Docker
// asks for the tag latest at each start, whatever the node has.
func again(pulls []survey.Pull) map[string][]string {
	type place struct{ node, image string }
	first, last := map[place]time.Time{}, map[place]time.Time{}
	names := map[string]string{}
	for _, p := range pulls {
		at := place{p.Node, p.Image}
		if old, known := first[at]; !known || p.At.Before(old) {
			first[at] = p.At
		}
		if p.At.After(last[at]) {
			last[at] = p.At
		}
		names[p.Node] = p.NodeName
	}
	out := map[string][]string{}
	for at, began := range first {
		if last[at].Sub(began) <= sameStart || strings.HasSuffix(at.image, ":latest") {
			continue
		}
		name := names[at.node]
		if out[name] = append(out[name], at.image); len(out[name]) > 1 {
			slices.Sort(out[name])
		}
	}
	return out
}

// aboutPulledAgain judges what nodes pulled in the last hours.
func aboutPulledAgain(byNode map[string][]string) []wadi.Finding {
	if len(byNode) == 0 {
		return nil
	}
	return []wadi.Finding{{Level: wadi.LevelWarn, About: aboutNodesOf,
		What: fmt.Sprintf("%s pulled an image again that an instance had started with there in the last hours, so it was removed in between: "+
			"services that come from zero wait for it; the agent's log names them", wadi.Quantity(len(byNode), "node")),
		Remedy: keepRemedy + "; force_pull = true in a task does the same"}}
}
