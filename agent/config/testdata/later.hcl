admission "policy" {
  url = "https://policy.example.com/admit"
}
admission "cost" {
}
queue_proxy {
  driver = "docker"
}
