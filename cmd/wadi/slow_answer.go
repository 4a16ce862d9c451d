package main

import (
	"sync"
	"time"
)

// slowAnswerAfter is when a command first reports that the agent has not answered, and
// slowAnswerEvery how often it repeats that.
const (
	slowAnswerAfter = 2 * time.Second
	slowAnswerEvery = 10 * time.Second
)

// noticeSlowAnswer reports on standard error that the agent takes long to answer, until
// the returned function is called, which may be called again. An agent waits for Nomad and Consul for up to
// half a minute.
func (c *call) noticeSlowAnswer() (answered func()) {
	return c.noticeSlow("No answer from the agent yet, after %s: it may be waiting for Nomad or Consul. Still waiting.")
}

// noticeSlow is the same of others. text has the time that has passed.
func (c *call) noticeSlow(text string) (answered func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(ended)
		for wait := slowAnswerAfter; ; wait = slowAnswerEvery {
			select {
			case <-done:
				return
			case <-time.After(wait):
				writef(c.stderr, text+"\n", time.Since(began).Round(time.Second))
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(done)
		<-ended // Nothing is printed after this.
	})
}
