package webhook

// Read reads the answer of a mutating webhook.
func Read(q Question, text []byte) (Answer, error) {
	return (&Webhook{Config: Config{Name: "policy", Mutate: true}}).read(q, text)
}
