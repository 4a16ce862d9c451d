package framing

// Reason says what is wrong with a request's framing. Its String is the value of a metric's
// label.
type Reason uint8

// The reasons. None means that the request may pass.
const (
	None Reason = iota
	RequestLine
	Version
	Target
	Method
	LineEnd
	Fold
	HeaderName
	HeaderLine
	Host
	Length
	Coding
	LengthAndCoding
	Chunk
	Trailer
	TooLong
	reasons
)

func (r Reason) String() string { return r.texts()[0] }

// Text explains r to the caller.
func (r Reason) Text() string { return r.texts()[1] }

func (r Reason) texts() [2]string {
	return [reasons][2]string{
		None:            {"none", "nothing is wrong"},
		RequestLine:     {"request_line", "the request line is not a method, a target and a version with one space between them"},
		Version:         {"version", "the version is other than 1.1 and 1.0"},
		Target:          {"target", "the request target is not one that a server takes"},
		Method:          {"method", "there are no tunnels here: CONNECT"},
		LineEnd:         {"line_end", "a line ends without CR LF, or has a CR within"},
		Fold:            {"fold", "a header line begins with white space"},
		HeaderName:      {"header_name", "a header's name is none, or has a space before its colon"},
		HeaderLine:      {"header_line", "a header's value has a control character"},
		Host:            {"host", "there is no Host, more than one, or another than the request target's"},
		Length:          {"content_length", "Content-Length is not one decimal number, or there is more than one"},
		Coding:          {"transfer_encoding", "Transfer-Encoding is other than chunked, or not of HTTP/1.1"},
		LengthAndCoding: {"length_and_coding", "there are both Content-Length and Transfer-Encoding"},
		Chunk:           {"chunk", "the chunked body is malformed"},
		Trailer:         {"trailer", "a trailer is malformed, or has no business there"},
		TooLong:         {"too_long", "a header line is too long"},
	}[r]
}

// Error is the error of reading from a connection after a refusal.
type Error struct{ Reason Reason }

func (e *Error) Error() string { return "malformed request: " + e.Reason.Text() }
