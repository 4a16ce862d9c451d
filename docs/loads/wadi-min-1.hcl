# The same app, of which one instance is always kept.
concurrency {
  limit = 10
}
scale {
  min = 1
}
