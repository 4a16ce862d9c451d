package wadi

import (
	"strconv"
	"strings"
	"unicode"
)

// OneLine makes one printable line of at most max characters of what others wrote: an
// app or an image must not steer a terminal, nor fill a status.
func OneLine(text string, max int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > max {
		return string(runes[:max-1]) + "…"
	}
	return text
}

// Quantity is how many there are of something, such as "1 instance" or "2 instances".
func Quantity(n int, one string) string { return Plural(n, "1 "+one, strconv.Itoa(n)+" "+one+"s") }

// Plural is the one word or the other: for one of something, or for another number.
func Plural(n int, one, others string) string {
	if n == 1 {
		return one
	}
	return others
}
