package doctor

import (
	"fmt"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/registry"
)

const aboutDockerConfig = "images.docker_config"

// checkDockerConfig looks whether the agent's credentials for registries can be used. No
// registry is asked: which there are depends on the services.
func (d *Doctor) checkDockerConfig() []wadi.Finding {
	path := ""
	if d.DockerConfig != nil {
		path = d.DockerConfig()
	}
	if path == "" {
		return nil
	}
	found, err := registry.Examine(path)
	if err != nil {
		return []wadi.Finding{{Level: wadi.LevelFail, About: aboutDockerConfig, What: fmt.Sprintf("it can't be used: %s", err),
			Remedy: "mend the file, it is read for each question; until then no image is resolved to a digest"}}
	}
	var out []wadi.Finding
	if len(found.Missing) > 0 {
		out = append(out, wadi.Finding{Level: wadi.LevelFail, About: aboutDockerConfig,
			What:   fmt.Sprintf("it names programs that are not on the agent's PATH: %.500s", strings.Join(found.Missing, ", ")),
			Remedy: "install them on the agent's machine, or take them out of credsStore and credHelpers"})
	}
	if found.Exposed {
		out = append(out, wadi.Finding{Level: wadi.LevelWarn, About: aboutDockerConfig,
			What: "every user of the machine may read the credentials of registries", Remedy: "chmod o-rwx " + path})
	}
	if len(out) == 0 {
		out = append(out, wadi.Finding{Level: wadi.LevelOK, About: aboutDockerConfig, What: "it can be read, and its helpers are there"})
	}
	return out
}
