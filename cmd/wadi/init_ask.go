package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/internal/setup"
	"github.com/wadi-run/wadi/internal/survey"
)

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 4 << 10

// questions asks a person, line by line.
type questions struct {
	in  *bufio.Reader
	out io.Writer
}

// questions returns who asks; false: there is no terminal on both sides.
func (c *call) questions() (*questions, bool) {
	in, isFile := c.stdin.(*os.File)
	_, shows := terminal(c.stdout)
	return newQuestions(c.stdin, c.stdout), isFile && term.IsTerminal(int(in.Fd())) && shows
}

func newQuestions(in io.Reader, out io.Writer) *questions {
	return &questions{in: bufio.NewReaderSize(in, maxAnswer), out: out}
}

// errNoAnswer is the end of the input in the middle of the questions.
var errNoAnswer = errors.New("no more answers: nothing was written")

// ask asks until good takes the answer. An empty answer is the suggestion.
func (q *questions) ask(ctx context.Context, what, suggestion string, good func(string) error) (string, error) {
	for {
		writef(q.out, "%s [%s]: ", what, clean(suggestion))
		answer, tooLong, err := q.line(ctx)
		if err != nil {
			writef(q.out, "\n")
			return "", errNoAnswer
		}
		switch {
		case tooLong:
			writef(q.out, "That is too long.\n")
		case answer == "":
			return suggestion, nil
		default:
			err := good(answer)
			if err == nil {
				return answer, nil
			}
			writef(q.out, "That does not fit: %s.\n", clean(err.Error()))
		}
	}
}

// line reads an answer, and drops one that is too long. Nothing ends a read from a terminal:
// after ctx it goes on until the process ends.
func (q *questions) line(ctx context.Context) (string, bool, error) {
	type answer struct {
		text    string
		tooLong bool
		err     error
	}
	read := make(chan answer, 1)
	go func() {
		line, tooLong, err := q.in.ReadLine()
		text := strings.TrimSpace(string(line))
		for more := tooLong; more && err == nil; {
			_, more, err = q.in.ReadLine()
		}
		read <- answer{text, tooLong, err}
	}()
	select {
	case a := <-read:
		return a.text, a.tooLong, a.err
	case <-ctx.Done():
		return "", false, ctx.Err()
	}
}

// oneOf takes one of the choices.
func oneOf(choices ...string) func(string) error {
	return func(answer string) error {
		if slices.Contains(choices, answer) {
			return nil
		}
		return errors.New("it is " + strings.Join(choices, " or "))
	}
}

func isDomain(answer string) error {
	if config.IsDomain(answer) {
		return nil
	}
	return errors.New("it is a domain in lower case, such as apps.example.com")
}

func areNamespaces(answer string) error {
	_, err := namesOfNamespaces(answer)
	return err
}

// ask fills in what no flag says.
func (f *initFlags) ask(ctx context.Context, q *questions, cluster setup.Cluster, suggested setup.Choice) error {
	onOff := map[bool]string{true: "on", false: "off"}
	envoy := map[bool]string{true: "docker", false: "program"}
	ofMesh := func() bool { return f.mesh == "on" }
	ofProgram := func() bool { return f.driver != "docker" }
	for _, each := range []struct {
		dst              *string
		what, suggestion string
		good             func(string) error
		when             func() bool
	}{
		{&f.runsAs, "Do agents run as a Nomad job, or as a service of each machine? (job, service)", string(suggested.RunsAs), oneOf("job", "service"), nil},
		{&f.driver, "Which driver runs the sidecar of each instance? " + listOf(cluster.Drivers()), suggested.Driver, oneOf(cluster.Drivers()...), nil},
		{&f.program, "Where is the sidecar's program? (nodes: a job puts it on each; agents: nodes fetch it from them for each instance, a little slower)", programOnNodes, oneOf(programOnNodes, programOnAgents), ofProgram},
		{&f.mesh, "Are services in Consul's mesh, unless they say otherwise? (on, off)", onOff[suggested.Mesh], oneOf("on", "off"), nil},
		{&f.envoy, "How does Envoy run? (docker: Nomad's own task; program: envoy on the nodes' PATH)", envoy[suggested.EnvoyImage], oneOf("docker", "program"), ofMesh},
		{&f.domain, "Below which domain does the gateway serve services, as NAME.DOMAIN?", suggested.Domain, isDomain, nil},
		{&f.namespaces, "Which namespaces of Nomad may have services? (a,b; * is any text)", strings.Join(suggested.Namespaces, ","), areNamespaces, cluster.NomadACLs},
	} {
		if *each.dst != "" || each.when != nil && !each.when() {
			continue
		}
		answer, err := q.ask(ctx, each.what, each.suggestion, each.good)
		if err != nil {
			return err
		}
		*each.dst = answer
	}
	writef(q.out, "\n")
	return nil
}

// The names in certificates, as Nomad's and Consul's own commands take them. Agents have none.
const (
	nomadServerName  = "NOMAD_TLS_SERVER_NAME"
	consulServerName = "CONSUL_TLS_SERVER_NAME"
)

// survey asks Nomad and Consul, and reports both if neither answers.
func (c *call) survey(ctx context.Context, cfg config.Config) (out setup.Cluster, err error) {
	ofNomad, err := survey.New(survey.Config{Address: cfg.Nomad.Address, Header: survey.NomadToken, Token: func() string { return cfg.Nomad.Token },
		Region: cfg.Nomad.Region, CAFile: cfg.Nomad.TLS.CAFile, CertFile: cfg.Nomad.TLS.CertFile, KeyFile: cfg.Nomad.TLS.KeyFile, ServerName: c.env[nomadServerName], SkipVerify: cfg.Nomad.TLS.SkipVerify})
	if err != nil {
		return out, usagef("nomad: %v", err)
	}
	ofConsul, err := survey.New(survey.Config{Address: cfg.Consul.Address, Header: survey.ConsulToken, Token: func() string { return cfg.Consul.Token },
		CAFile: cfg.Consul.TLS.CAFile, CertFile: cfg.Consul.TLS.CertFile, KeyFile: cfg.Consul.TLS.KeyFile, ServerName: c.env[consulServerName], SkipVerify: cfg.Consul.TLS.SkipVerify})
	if err != nil {
		return out, usagef("consul: %v", err)
	}
	answered := c.noticeSlow("Nomad and Consul have not answered all questions yet, after %s. Still waiting.")
	defer answered()
	var errs [2]error
	var wg sync.WaitGroup
	wg.Go(func() { out.Nomad, errs[0] = survey.AskNomad(ctx, ofNomad) })
	wg.Go(func() { out.Consul, errs[1] = survey.AskConsul(ctx, ofConsul) })
	wg.Wait()
	// Each answers the other's first question, so that swapped addresses are seen by what is not there.
	if errs[0] == nil && errors.Is(out.Nomad.Nodes.Err, wadi.ErrNotFound) {
		errs[0] = errors.New("what answers is not Nomad")
	}
	if errs[1] == nil && errors.Is(out.Consul.Connect.Err, wadi.ErrNotFound) {
		errs[1] = errors.New("what answers is not Consul")
	}
	var away []string
	if errs[0] != nil {
		away = append(away, fmt.Sprintf("%v: look at Nomad at %s, or name another with -nomad-address or NOMAD_ADDR", errs[0], cfg.Nomad.Address))
	}
	if errs[1] != nil {
		away = append(away, fmt.Sprintf("%v: look at Consul at %s, or name another with -consul-address or CONSUL_HTTP_ADDR", errs[1], cfg.Consul.Address))
	}
	switch {
	case ctx.Err() != nil:
		return out, ctx.Err()
	case len(away) > 0:
		return out, errors.New(strings.Join(away, "\n"))
	}
	return out, nil
}

// listOf joins choices for a question.
func listOf(all []string) string { return fmt.Sprintf("(%s)", strings.Join(all, ", ")) }
