# An app that serves ten requests at once, with defaults otherwise.
concurrency {
  limit = 10
}
