package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
	"github.com/wadi-run/wadi/jobspecs/convert"
)

// convertTimeout bounds the question for a job.
const convertTimeout = 30 * time.Second

// converted is the output of convert with -json.
type converted struct {
	Source string         `json:"source"`          // The service in HCL.
	Notes  []wadi.Problem `json:"notes,omitempty"` // What differs; the comments in source say the same.
}

func convertCommand() command {
	var asJSON bool
	var job jobSource
	return command{
		usage:    "wadi convert [options] FILE|-",
		synopsis: "Turn a Nomad job or a Knative service into a service",
		help: `Reads a Nomad job (HCL, or JSON as "nomad job inspect" writes it), or the YAML of a
Knative or Cloud Run service, and writes a file for "wadi apply" to standard output.
What does not carry over stands in it as a comment, with its line and the reason.
With -job the job is read from Nomad, with your token. Nothing is changed anywhere.

docs/from-nomad.md and docs/from-knative.md list every setting.`,
		min: 0, max: 1,
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&asJSON, "json", false, "print JSON")
			job.register(fs)
		},
		run: func(ctx context.Context, c *call) error {
			f, err := convertSource(ctx, c, job)
			if err != nil {
				return err
			}
			r, problems := convert.Convert(f)
			if len(r.HCL) == 0 {
				return errorOf(problems)
			}
			if asJSON {
				if err := c.printJSON(converted{string(r.HCL), r.Notes}); err != nil {
					return err
				}
			} else if _, err := c.stdout.Write(r.HCL); err != nil {
				return err
			}
			if n := len(r.Notes); n > 0 && !asJSON {
				writef(c.stderr, "What differs is in the comments: %d in all.\n", n)
			}
			return errorOf(problems)
		},
	}
}

func convertSource(ctx context.Context, c *call, job jobSource) (jobspecs.File, error) {
	switch {
	case job.id != "" && len(c.args) > 0:
		return jobspecs.File{}, usagef("-job and a file exclude each other")
	case job.id != "":
		return job.read(ctx, c)
	case len(c.args) == 0:
		return jobspecs.File{}, usagef("an argument is missing: a file, - or -job ID")
	}
	f, err := readSource(c.stdin, c.args[0])
	return jobspecs.File{Name: f.Name, Source: []byte(f.Source)}, err
}

// jobSource names a job in a cluster.
type jobSource struct{ id, namespace, address, token string }

func (j *jobSource) register(fs *flag.FlagSet) {
	fs.StringVar(&j.id, "job", "", "`ID` of a job in Nomad to convert")
	fs.StringVar(&j.namespace, "namespace", "", "`name` of its namespace (NOMAD_NAMESPACE)")
	fs.StringVar(&j.address, "nomad-address", "", "`URL` of Nomad (NOMAD_ADDR)")
	fs.StringVar(&j.token, "token", "", "Nomad `token` (NOMAD_TOKEN)")
}

// read asks Nomad for the job, as it stands there.
func (j *jobSource) read(ctx context.Context, c *call) (jobspecs.File, error) {
	ctx, cancel := context.WithTimeout(ctx, convertTimeout)
	defer cancel()
	answered := c.noticeSlow("No answer from Nomad yet, after %s. Still waiting.")
	defer answered()
	config := api.DefaultConfig() // It reads the environment for TLS.
	config.Address = c.setting("NOMAD_ADDR", config.Address)
	config.Namespace = c.setting("NOMAD_NAMESPACE", "default")
	config.SecretID = c.env["NOMAD_TOKEN"]
	if j.address != "" {
		config.Address = j.address
	}
	if j.namespace != "" {
		config.Namespace = j.namespace
	}
	if j.token != "" {
		config.SecretID = j.token
	}
	client, err := api.NewClient(config)
	if err != nil {
		return jobspecs.File{}, usageError{err}
	}
	defer client.Close()
	var raw json.RawMessage
	if _, err := client.Raw().Query("/v1/job/"+url.PathEscape(j.id), &raw, (&api.QueryOptions{}).WithContext(ctx)); err != nil {
		var answer api.UnexpectedResponseError
		if errors.As(err, &answer) && answer.HasStatusCode() {
			return jobspecs.File{}, fmt.Errorf("read job %s: Nomad answered %d: %s", j.id, answer.StatusCode(), bytes.TrimSpace([]byte(answer.Body())))
		}
		return jobspecs.File{}, fmt.Errorf("read job %s: %w", j.id, err)
	}
	var line bytes.Buffer
	if err := json.Compact(&line, raw); err != nil {
		return jobspecs.File{}, fmt.Errorf("read job %s: %w", j.id, err)
	}
	return jobspecs.File{Name: "job " + j.id, Source: line.Bytes()}, nil
}
