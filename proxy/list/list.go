// Package list has doubly linked lists whose elements bring their links along.
//
// It promises that nothing allocates, that all but All takes constant time, and that
// an element can leave from anywhere. It is for what container/list and slices are too
// dear for: thousands of requests that come and go in no order. It refuses an element
// that is in a list already, by a panic. Who shares a list guards it.
package list

import "iter"

// List is a list of values that each hold a [Node] of it; its zero value is empty.
// It must not be copied.
type List[T any] struct {
	first, last *Node[T]
	n           int
}

// Node is a value's place in at most one list; its zero value is in none. It must
// not be copied.
type Node[T any] struct {
	prev, next *Node[T]
	list       *List[T]
	value      T
}

// PushBack puts a value at the end, by its node.
func (l *List[T]) PushBack(n *Node[T], value T) { l.insert(n, value, l.last, nil) }

// PushFront puts a value at the front, by its node.
func (l *List[T]) PushFront(n *Node[T], value T) { l.insert(n, value, nil, l.first) }

func (l *List[T]) insert(n *Node[T], value T, prev, next *Node[T]) {
	if n.list != nil {
		panic("list: the value is in a list already")
	}
	n.prev, n.next, n.list, n.value = prev, next, l, value
	if prev == nil {
		l.first = n
	} else {
		prev.next = n
	}
	if next == nil {
		l.last = n
	} else {
		next.prev = n
	}
	l.n++
}

// Remove takes a value out. It reports whether it was in l.
func (l *List[T]) Remove(n *Node[T]) bool {
	if n.list != l {
		return false
	}
	if n.prev == nil {
		l.first = n.next
	} else {
		n.prev.next = n.next
	}
	if n.next == nil {
		l.last = n.prev
	} else {
		n.next.prev = n.prev
	}
	*n = Node[T]{}
	l.n--
	return true
}

// Has reports whether a value is in l, by its node.
func (l *List[T]) Has(n *Node[T]) bool { return n.list == l }

// First is the value at the front; of an empty list T's zero value.
func (l *List[T]) First() (value T) {
	if l.first != nil {
		value = l.first.value
	}
	return value
}

// Last is the value at the end; of an empty list T's zero value.
func (l *List[T]) Last() (value T) {
	if l.last != nil {
		value = l.last.value
	}
	return value
}

// Len is how many there are.
func (l *List[T]) Len() int { return l.n }

// All goes from the front to the end. What it has come to may be removed meanwhile,
// other values not.
func (l *List[T]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		for n := l.first; n != nil; {
			next := n.next
			if !yield(n.value) {
				return
			}
			n = next
		}
	}
}
