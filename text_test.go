package wadi_test

import (
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
)

func TestOneLine(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"Exit Code: 1", "Exit Code: 1"},
		{" two\r\n\tlines ", "two lines"},
		{"\x1b[2J\x1b]0;title\x07gone\x00", "[2J]0;titlegone"},
		{"\u009b31mred \u202eturned\u2028line", "31mred turned line"},
		{"bad \xff\xfe bytes", "bad \ufffd\ufffd bytes"},
		{strings.Repeat("ä", 30), strings.Repeat("ä", 19) + "…"},
	} {
		if got := wadi.OneLine(tt.in, 20); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestQuantity(t *testing.T) {
	for n, want := range map[int]string{0: "0 mistakes", 1: "1 mistake", 2: "2 mistakes"} {
		if got := wadi.Quantity(n, "mistake"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
