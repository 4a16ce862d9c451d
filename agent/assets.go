package agent

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/internal/assets"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/jobspecs"
)

// assetPlane has the programs that Nomad's clients fetch. Nil: the configuration wants none.
type assetPlane struct {
	store   *assets.Store
	keeper  *assets.Keeper
	handler *assets.Handler
}

// openAssets takes in the queue-proxy that came with this agent's program: beside it, and for
// other architectures in the folder assets beside it.
func (a *Agent) openAssets(context.Context) error {
	if !a.cfg.Assets.Enabled() {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("assets: find this program: %w", err)
	}
	beside := filepath.Dir(self)
	log := a.log.Named("assets")
	store, err := assets.Open(assets.Options{
		Dir: a.cfg.Assets.Dir, Programs: []string{filepath.Join(beside, assets.Program), filepath.Join(beside, "assets")},
		Version: programVersion, Log: log,
	})
	if err != nil {
		return fmt.Errorf("assets.dir: %w", err)
	}
	keeper := &assets.Keeper{Store: store, Named: a.store.Assets, Confirm: a.store.AssetsOfRevisions, Peers: a.assetPeers, Log: log}
	a.assets = &assetPlane{store: store, keeper: keeper, handler: assets.NewHandler(store, keeper.Fetch, a.reg)}
	return nil
}

// assetPeers are the other agents' metrics listeners.
func (a *Agent) assetPeers() (out []string) {
	for _, in := range a.members.Alive() {
		if addr := in.Meta[consul.MetaMetrics]; consul.AgentName(in.ID) != a.cfg.Name && addr != "" {
			out = append(out, addr)
		}
	}
	return out
}

// versionTimeout bounds the question to a program for its version.
const versionTimeout = 3 * time.Second

// programVersion asks a program that came with this one for its version. Empty: it is for
// another machine, or says nothing that is one.
func programVersion(file string) string {
	ctx, cancel := context.WithTimeout(context.Background(), versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, file, "-version")
	cmd.Env, cmd.WaitDelay = []string{}, time.Second // It needs no token of this agent's, and a child of it holds up nothing.
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	version, ok := strings.CutPrefix(wadi.OneLine(string(out), 100), assets.Program+" ")
	if !ok {
		return ""
	}
	return version
}

// download returns how instances of revisions that are submitted now fetch the queue-proxy.
// Nil: they don't.
func (a *Agent) download(c config.Assets) func() (jobspecs.Download, error) {
	switch {
	case c.URL == "":
		return nil
	case a.assets == nil: // After a reload: queue_proxy names no program any more.
		return func() (jobspecs.Download, error) {
			return jobspecs.Download{}, fmt.Errorf("instances are to fetch the queue-proxy from agents (assets.url), and this agent serves it after a restart only: %w", wadi.ErrUnavailable)
		}
	}
	archs := c.Arch
	if len(archs) == 0 {
		archs = []string{runtime.GOARCH}
	}
	return func() (jobspecs.Download, error) {
		d := jobspecs.Download{URL: strings.TrimRight(c.URL, "/") + assets.Path, Sums: map[string]string{}}
		current := a.assets.store.Current()
		for _, arch := range archs {
			if d.Sums[arch] = current[arch].SHA256; d.Sums[arch] == "" {
				return jobspecs.Download{}, fmt.Errorf("this agent has no queue-proxy for %s, which its configuration wants (assets.arch): %w", arch, wadi.ErrUnavailable)
			}
		}
		return d, nil
	}
}

// assetFindings are for the doctor. They name no service.
func (a *Agent) assetFindings() (out []wadi.Finding) {
	if a.assets == nil {
		return nil
	}
	const about = "assets"
	add := func(level wadi.Level, what, remedy string) {
		out = append(out, wadi.Finding{Level: level, About: about, What: what, Remedy: remedy})
	}
	c := a.inForce().Assets
	current := a.assets.store.Current()
	if d := a.download(c); d != nil {
		if _, err := d(); err != nil {
			add(wadi.LevelFail, "this agent has no queue-proxy for an architecture of assets.arch: it takes no submission",
				"put the program queue-proxy of this release for that architecture beside the agent's program, as assets/queue-proxy_linux_ARCH")
		}
	}
	lacking, problem := a.assets.keeper.State()
	if problem != nil {
		add(wadi.LevelFail, "the programs that Nomad's nodes fetch are not in step with the revisions: "+wadi.OneLine(problem.Error(), 200), "")
	}
	for _, sum := range slices.Sorted(maps.Keys(lacking))[:min(len(lacking), maxLacking)] {
		add(wadi.LevelFail, fmt.Sprintf("no agent has the queue-proxy %s, which %s: no instance of %s can start", sum, wadi.Quantity(lacking[sum], "revision")+wadi.Plural(lacking[sum], " fetches", " fetch"), wadi.Plural(lacking[sum], "it", "them")),
			"put the queue-proxy of the release that they were submitted with into assets.dir of an agent, as a file of that name (sha256sum says which it is); or submit their services again, changed, for new revisions")
	}
	if len(out) == 0 && len(current) > 0 {
		add(wadi.LevelOK, "it serves the queue-proxy for "+strings.Join(slices.Sorted(maps.Keys(current)), " and "), "")
	}
	return out
}

// maxLacking bounds the findings about programs.
const maxLacking = 5
