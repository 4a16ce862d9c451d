# The same app, with a little more patience before zero.
concurrency {
  limit = 10
}
scale {
  zero_grace = "10s"
}
