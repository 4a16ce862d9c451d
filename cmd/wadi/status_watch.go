package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// redrawInterval is how often a screen is drawn anew: ages change though the service doesn't.
const redrawInterval = 500 * time.Millisecond

// statusWatch shows the states of a service, one after the other.
type statusWatch struct {
	*call
	client *api.Client
	screen *screen // nil: states are appended.
	state  []byte  // The last, in JSON.
	shown  api.Service
	away   error // Why the agent does not answer.

	view func(api.Service) any    // What of a state is shown in JSON.
	show func(*call, api.Service) // And to people.
}

// watchService shows a service whenever what is shown of it changes, until ctx ends or the
// service does. It waits for an agent that went away for as long as that takes.
func watchService(ctx context.Context, c *call, view func(api.Service) any, show func(*call, api.Service)) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	w := &statusWatch{call: c, client: client, view: view, show: show}
	if !c.json {
		w.screen = c.newScreen()
	}
	if w.screen != nil {
		writef(c.stdout, "\x1b[2J")
	}
	f := follow(ctx, client, c.args[0])
	defer f.end()
	tick := time.NewTicker(redrawInterval)
	defer tick.Stop()
	answered := w.noticeSlowAnswer()
	defer func() { answered() }()
	for {
		select {
		case news := <-f.news:
			answered()
			answered = func() {}
			if err := w.note(news); err != nil {
				return err
			}
		case <-tick.C:
			if w.screen != nil && w.state != nil {
				w.draw()
			}
		case <-ctx.Done():
			return nil // Ctrl-C is how watching ends.
		}
	}
}

// note shows a state if it is new. Its error ends the watch.
func (w *statusWatch) note(news serviceNews) error {
	s, err := news.service, news.err
	if err != nil && w.state != nil && (errors.Is(err, wadi.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)) {
		w.lost(err)
		return nil
	} else if err != nil {
		return err
	}
	state, err := json.Marshal(w.view(s))
	if err != nil {
		return err
	}
	w.found()
	changed := !bytes.Equal(state, w.state)
	w.state, w.shown = state, s
	switch {
	case w.screen != nil:
		w.draw()
	case changed && w.json:
		return w.printLine(w.view(s))
	case changed:
		w.printf("== %s\n", time.Now().Format("2006-01-02 15:04:05"))
		w.show(w.call, s)
		w.printf("\n")
	}
	return nil
}

// lost reports, once, that the agent does not answer.
func (w *statusWatch) lost(err error) {
	first := w.away == nil
	w.away = err
	if w.screen != nil {
		w.draw()
	} else if first {
		writef(w.stderr, "%s\n", w.awayText())
	}
}

// found reports that the agent answers again.
func (w *statusWatch) found() {
	if w.away != nil && w.screen == nil {
		writef(w.stderr, "The agent answers again.\n")
	}
	w.away = nil
}

func (w *statusWatch) awayText() string {
	return "The agent does not answer; trying again: " + clean(w.away.Error())
}

// draw shows the last state in place.
func (w *statusWatch) draw() {
	if f, ok := w.stdout.(*os.File); ok {
		w.screen.measure(f)
	}
	c := *w.call
	c.stdout = w.screen
	if w.away != nil {
		c.printf("%s\n\n", w.awayText())
	}
	w.show(&c, w.shown)
	w.screen.draw()
}
