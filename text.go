package wadi

import (
	"strconv"
	"strings"
	"unicode"
)

// OneLine makes one printable line of at most max characters of a text that Wadi did not
// write: an app or an image must not control a terminal or fill a status.
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

// Quantity is n of a noun, such as "1 instance" or "2 instances".
func Quantity(n int, one string) string { return Plural(n, "1 "+one, strconv.Itoa(n)+" "+one+"s") }

// Plural is the form of a word for n: one for 1, others for every other number.
func Plural(n int, one, others string) string {
	if n == 1 {
		return one
	}
	return others
}
