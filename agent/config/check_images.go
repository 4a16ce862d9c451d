package config

import (
	"os"
	"regexp"
	"strings"
	"time"
)

const (
	maxNetworks   = 100
	maxRegistries = 100
)

// registryRule is for the registry of an image: a host, with its port if images have it too.
var registryRule = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$`)

// images checks what registries are asked with. The agent reads the files when it starts, and
// at each reload; that of credentials also for each question.
func (l *loader) images() {
	i := &l.cfg.Images
	between(l, "images.timeout", i.Timeout, 100*time.Millisecond, 30*time.Second)
	between(l, "the number of images.allow_networks", len(i.AllowNetworks), 0, maxNetworks)
	between(l, "the number of images.insecure_registries", len(i.InsecureRegistries), 0, maxRegistries)
	for _, f := range []struct{ path, file string }{{"images.docker_config", i.DockerConfig}, {"images.ca_file", i.CAFile}} {
		if info, err := os.Stat(f.file); f.file != "" && (err != nil || !info.Mode().IsRegular()) {
			l.problem(l.at(f.path), f.path, "there is no file %q", f.file)
		}
	}
	if info, err := os.Stat(i.CertsDir); i.CertsDir != "" && (err != nil || !info.IsDir()) {
		l.problem(l.at("images.certs_dir"), "images.certs_dir", "there is no folder %q", i.CertsDir)
	}
	for n, host := range i.InsecureRegistries {
		i.InsecureRegistries[n] = strings.ToLower(host)
		l.match("images.insecure_registries", i.InsecureRegistries[n], registryRule, "a registry as images have it, such as registry.example.com:5000, without http:// and without a path")
	}
}
