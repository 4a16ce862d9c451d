package main

import "time"

// When a command says that it waits for an answer: after the first of them, and then
// again and again.
const (
	slowAnswerAfter = 2 * time.Second
	slowAnswerEvery = 10 * time.Second
)

// noticeSlowAnswer says on standard error that the agent's answer takes its time, until the
// function that it returns is called, once. An agent waits for Nomad and Consul for up
// to half a minute.
func (c *call) noticeSlowAnswer() (answered func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(ended)
		for wait := slowAnswerAfter; ; wait = slowAnswerEvery {
			select {
			case <-done:
				return
			case <-time.After(wait):
				writef(c.stderr, "No answer from the agent yet, after %s: it may be waiting for Nomad or Consul. Waiting on.\n", time.Since(began).Round(time.Second))
			}
		}
	}()
	return func() {
		close(done)
		<-ended // Nothing is said after this.
	}
}
