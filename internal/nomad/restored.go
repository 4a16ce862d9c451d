package nomad

import (
	"context"
	"time"

	"github.com/wadi-run/wadi"
)

// watchRestores calls restored each time that Nomad's index of jobs has gone back. A
// restored server may keep event streams open, with heartbeats, that report the state it
// has thrown away. They end with its next change (seen with 1.11.3). Until then they are
// silent, and the index stays lower.
func (w *Watcher) watchRestores(ctx context.Context, restored func()) {
	var last uint64
	for {
		index, err := w.Client.jobsIndex(ctx)
		if err == nil {
			if index < last {
				restored()
			}
			last = index
		}
		if wadi.Sleep(ctx, w.RestoreCheck) != nil {
			return
		}
	}
}

// reopenAll opens all streams again, each with a full read.
func (s *streams) reopenAll(ctx context.Context) {
	s.w.Log.Warn("nomad was restored to an earlier state, reading everything again")
	s.all = s.reopen(ctx, s.all)
	for namespace, sub := range s.single {
		s.single[namespace] = s.reopen(ctx, sub)
	}
}

// reopen replaces a subscription by a new one. The old data is as usable as after a broken
// stream.
func (s *streams) reopen(ctx context.Context, sub *subscription) *subscription {
	sub.stop()
	next := s.start(ctx, sub.namespace)
	next.streamState = streamState{brokeAt: time.Now(), namespaces: sub.namespaces}
	return next
}
