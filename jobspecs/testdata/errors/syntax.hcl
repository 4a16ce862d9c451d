service "hello" {
  port = 
  instance {
    task "web" {
    }
}
