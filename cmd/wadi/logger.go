package main

import (
	"io"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
)

// agentLog is the agent's logger, whose format can change while it runs.
type agentLog struct {
	hclog.InterceptLogger
	out    io.Writer
	format atomic.Pointer[hclog.SinkAdapter]
}

// newLogger makes the agent's logger. level is trace to error, as in Nomad and Consul.
func newLogger(level string, asJSON bool, out io.Writer) *agentLog {
	l := &agentLog{out: out, InterceptLogger: hclog.NewInterceptLogger(&hclog.LoggerOptions{
		Name: "wadi", Level: hclog.LevelFromString(level), Output: io.Discard, // The sink writes.
	})}
	l.setJSON(asJSON)
	l.RegisterSink(l)
	return l
}

// setJSON writes JSON, or text, from now on.
func (l *agentLog) setJSON(asJSON bool) {
	sink := hclog.NewSinkAdapter(&hclog.LoggerOptions{
		Level: hclog.Trace, Output: l.out, JSONFormat: asJSON, TimeFormat: "2006-01-02T15:04:05.000Z0700",
	})
	l.format.Store(&sink)
}

// Accept implements hclog.SinkAdapter: it writes what the level, which all loggers of the
// agent share, lets through. One line is written at a time: the logger holds a mutex.
func (l *agentLog) Accept(name string, level hclog.Level, msg string, args ...any) {
	if level >= l.GetLevel() {
		(*l.format.Load()).Accept(name, level, msg, args...)
	}
}
