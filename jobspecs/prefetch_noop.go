package jobspecs

// noopPath is where a container finds the program that does nothing: each image has it, as
// Nomad mounts the task's own folder there.
const noopPath = "/local/noop"

// noopTemplate writes the program, which ends with code 0: an ELF file of 130 bytes, as an
// image may have neither a shell nor libraries. A container that can't be started would
// show that its image was pulled, too, but Nomad never removes such an image.
const noopTemplate = `{{ if eq (env "attr.cpu.arch") "arm64" }}{{ base64Decode "` + noopARM64 + `" }}{{ else }}{{ base64Decode "` + noopAMD64 + `" }}{{ end }}`

// noopConstraints are met by nodes that can run one of the programs.
func noopConstraints() []any {
	return []any{object{"LTarget": "${attr.cpu.arch}", "RTarget": "^(amd64|arm64)$", "Operand": "regexp"}}
}

const (
	// xor edi, edi; mov eax, 231 (exit_group); syscall
	noopAMD64 = "f0VMRgIBAQAAAAAAAAAAAAIAPgABAAAAeABAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAEAAOAABAAAAAAAAAAEAAAAFAAAAAAAAAAAAAAAAAEAAAAAAAAAAQAAAAAAAgQAAAAAAAACBAAAAAAAAAAAQAAAAAAAAMf+45wAAAA8F"
	// mov x0, 0; mov x8, 94 (exit_group); svc 0
	noopARM64 = "f0VMRgIBAQAAAAAAAAAAAAIAtwABAAAAeABAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAEAAOAABAAAAAAAAAAEAAAAFAAAAAAAAAAAAAAAAAEAAAAAAAAAAQAAAAAAAhAAAAAAAAACEAAAAAAAAAAAAAQAAAAAAAACA0sgLgNIBAADU"
)
