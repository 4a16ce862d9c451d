package assets

import (
	"io/fs"
	"syscall"
)

func markOf(info fs.FileInfo) mark {
	m := mark{size: info.Size(), mtime: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		m.inode = st.Ino
	}
	return m
}
