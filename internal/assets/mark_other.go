//go:build !linux

package assets

import "io/fs"

func markOf(info fs.FileInfo) mark { return mark{size: info.Size(), mtime: info.ModTime()} }
