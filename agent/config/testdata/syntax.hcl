log_level = "info"
http {
  address = 127.0.0.1:4747
}
