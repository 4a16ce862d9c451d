package nomad

import (
	"context"
	"time"
)

// watchRestores calls restored each time that Nomad's index of jobs has gone back. A
// server that is restored may leave event streams open, with heartbeats, that tell of the
// state that it has thrown away. They end with its next change (seen with 1.11.3): until
// then it is quiet, and the index stays below.
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
		if sleep(ctx, w.RestoreCheck) != nil {
			return
		}
	}
}

// reopenAll opens all streams anew, each with a full read.
func (s *streams) reopenAll(ctx context.Context) {
	s.w.Log.Warn("nomad was restored to an earlier state: everything is read anew")
	s.all = s.reopen(ctx, s.all)
	for namespace, sub := range s.single {
		s.single[namespace] = s.reopen(ctx, sub)
	}
}

// reopen opens a stream in place of sub. What sub has told is as good as after a break.
func (s *streams) reopen(ctx context.Context, sub *subscription) *subscription {
	sub.stop()
	next := s.start(ctx, sub.namespace)
	next.streamState = streamState{brokeAt: time.Now(), namespaces: sub.namespaces}
	return next
}
