package activator

import "testing"

func TestBudget(t *testing.T) {
	b := budget{maxCount: 1000, maxBytes: 1 << 40}
	var flood, second budgetUse
	n := 0
	for b.reserve(&flood, 1) {
		n++
	}
	if n != 800 { // Eight ninths of the nine tenths that are not reserved.
		t.Errorf("one revision gets %d of 1000", n)
	}
	for range reservedRequests {
		if !b.reserve(&second, 1) {
			t.Fatalf("the second revision gets %d only", second.count)
		}
	}
	for range n {
		b.release(&flood, 1)
	}
	if flood != (budgetUse{}) || b.count != second.count || b.bytes != second.bytes {
		t.Errorf("left are %+v of %+v", flood, b.count)
	}
}

func TestBudget_Bytes(t *testing.T) {
	b := budget{maxCount: 1000, maxBytes: 100}
	var u budgetUse
	if !b.reserve(&u, 100) || b.reserve(&u, 1) || u != (budgetUse{1, 100}) {
		t.Errorf("got %+v, want one request with all bytes", u)
	}
}
