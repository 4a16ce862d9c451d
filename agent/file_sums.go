package agent

import (
	"crypto/sha256"
	"io"
	"os"

	"github.com/wadi-run/wadi/agent/config"
)

// maxSummed bounds what is read of a file for its sum, in bytes.
const maxSummed = 1 << 20

// fileSums are the sums of the contents of files, by the setting that names the file: a
// renewed certificate has the old name.
type fileSums map[string][sha256.Size]byte

// sumFiles reads the files that the clients of Nomad, Consul, webhooks and registries use.
func sumFiles(c config.Config) fileSums {
	sums := fileSums{}
	files := map[string]string{
		"nomad.ca_file": c.Nomad.TLS.CAFile, "nomad.cert_file": c.Nomad.TLS.CertFile, "nomad.key_file": c.Nomad.TLS.KeyFile,
		"images.docker_config": c.Images.DockerConfig, "images.ca_file": c.Images.CAFile,
		"consul.ca_file": c.Consul.TLS.CAFile, "consul.cert_file": c.Consul.TLS.CertFile, "consul.key_file": c.Consul.TLS.KeyFile,
	}
	for _, w := range c.Webhooks {
		block := "admission." + w.Name
		files[block+".ca_file"], files[block+".cert_file"], files[block+".key_file"] = w.TLS.CAFile, w.TLS.CertFile, w.TLS.KeyFile
	}
	for path, file := range files {
		if file != "" {
			sums[path] = sumOf(file)
		}
	}
	return sums
}

// sumOf is the sum of a file; that of nothing if it can't be read: who uses it says why.
func sumOf(file string) [sha256.Size]byte {
	f, err := os.Open(file)
	if err != nil {
		return sha256.Sum256(nil)
	}
	defer func() { _ = f.Close() }()
	b, _ := io.ReadAll(io.LimitReader(f, maxSummed))
	return sha256.Sum256(b)
}

// changed returns the settings whose files differ from those of old.
func (s fileSums) changed(old fileSums) []string {
	var out []string
	for path, sum := range s {
		if was, ok := old[path]; ok && was != sum {
			out = append(out, path)
		}
	}
	return out
}
