// Package list has intrusive doubly linked lists: each value holds its own links.
//
// It promises that nothing allocates, that all but All takes constant time, and that a
// value can be removed from anywhere. It is for thousands of requests that come and go in
// no order, where container/list and slices cost too much. It refuses a value that is in a
// list already, by a panic, and does not lock: the caller guards a shared list.
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

// PushBack puts value at the end, by its node.
func (l *List[T]) PushBack(n *Node[T], value T) { l.insert(n, value, l.last, nil) }

// PushFront puts value at the front, by its node.
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

// First is the value at the front; T's zero value if the list is empty.
func (l *List[T]) First() (value T) {
	if l.first != nil {
		value = l.first.value
	}
	return value
}

// Last is the value at the end; T's zero value if the list is empty.
func (l *List[T]) Last() (value T) {
	if l.last != nil {
		value = l.last.value
	}
	return value
}

// Len is the number of values.
func (l *List[T]) Len() int { return l.n }

// All iterates from the front to the end. The loop may remove the current value, but no
// other.
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
