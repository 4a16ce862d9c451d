package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/nomad"
)

const (
	maxLogLine  = 64 << 10 // Bytes; what is longer becomes several lines.
	bytesOfLine = 512      // So many of a log's end are read for each line that is asked for,
	minTail     = 16 << 10 // but at least these,
	maxTail     = 4 << 20  // and at most these.

	// The end of a log that is followed was read when nothing came for logQuiet, or after
	// logSettle.
	logQuiet  = 500 * time.Millisecond
	logSettle = 3 * time.Second

	reopenAfter = 2 * time.Second
)

// logStream shows one log of an instance.
type logStream struct {
	*logWatch
	instance nomad.Instance
	stream   string
	whole    bool // The instance is newer than the command.
}

// run shows the log to its end, or with follow until ctx ends.
func (l *logStream) run(ctx context.Context) {
	tail := l.tail()
	l.whole = l.whole || l.follow && l.lines == 0 // Whatever comes is new.
	for {
		err := l.read(ctx, tail)
		if ctx.Err() != nil {
			return
		}
		switch {
		case errors.Is(err, wadi.ErrNotFound): // The node has it no more, or its driver keeps none.
			l.notice("%v", err)
			return
		case err != nil && (!l.follow || errors.Is(err, wadi.ErrForbidden)):
			l.fail(nomadError{err})
			return
		case !l.follow:
			return
		case err != nil:
			l.notice("%v; trying again. What it writes meanwhile is not shown.", err)
		}
		l.whole, tail = true, 0
		if wadi.Sleep(ctx, reopenAfter) != nil {
			return
		}
	}
}

// tail is how many bytes of the log's end are read; below zero: all of it.
func (l *logStream) tail() int64 {
	switch {
	case l.whole:
		return -1
	case l.lines == 0:
		return 0
	}
	return int64(min(max(l.lines*bytesOfLine, minTail), maxTail))
}

func (l *logStream) fail(err error) {
	l.printing.Lock()
	defer l.printing.Unlock()
	if l.failure == nil {
		l.failure = err
	}
}

// read shows the log once, as far as it goes.
func (l *logStream) read(ctx context.Context, tail int64) error {
	ctx, cancel := context.WithCancel(ctx)
	body, err := l.logs.Open(ctx, nomad.Log{
		Namespace: l.namespace, Instance: l.instance.ID, Task: l.task, Stream: l.stream, Follow: l.follow, Tail: tail,
	})
	if err != nil {
		cancel()
		return err
	}
	lines, failed := make(chan string), make(chan error, 1)
	go func() {
		failed <- readLines(ctx, body, lines)
		close(lines)
	}()
	l.show(lines, tail)
	cancel()
	_ = body.Close()
	for range lines { // So that the reader ends.
	}
	return <-failed
}

// show prints lines until there are no more. Of the end of a log it prints the last ones.
func (l *logStream) show(lines <-chan string, tail int64) {
	if !l.whole {
		l.print(l.instance, l.stream, l.last(lines, tail))
	}
	for line := range lines {
		l.print(l.instance, l.stream, []string{line})
	}
}

// last returns the last lines of what is there already.
func (l *logStream) last(lines <-chan string, tail int64) []string {
	var kept []string
	var size int64
	dropped := false
	settled := (<-chan time.Time)(nil)
	if l.follow {
		settled = time.After(logSettle)
	}
	for {
		quiet := (<-chan time.Time)(nil)
		if l.follow {
			quiet = time.After(logQuiet)
		}
		select {
		case line, ok := <-lines:
			if !ok {
				return wholeLines(kept, size >= tail && !dropped)
			}
			size += int64(len(line)) + 1
			if kept = append(kept, line); len(kept) > l.lines {
				kept, dropped = kept[1:], true
			}
		case <-quiet:
			return wholeLines(kept, size >= tail && !dropped)
		case <-settled:
			return wholeLines(kept, size >= tail && !dropped)
		}
	}
}

// wholeLines leaves out the first line if reading began within it.
func wholeLines(lines []string, within bool) []string {
	if within && len(lines) > 0 {
		return lines[1:]
	}
	return lines
}

// readLines sends the lines of a log until it or ctx ends.
func readLines(ctx context.Context, log io.Reader, lines chan<- string) error {
	r := bufio.NewReaderSize(log, maxLogLine)
	for {
		line, _, err := r.ReadLine()
		switch {
		case errors.Is(err, io.EOF) || ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		select {
		case lines <- string(line):
		case <-ctx.Done():
			return nil
		}
	}
}
