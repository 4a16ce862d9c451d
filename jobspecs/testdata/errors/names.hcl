service "" {
  instance {}
}
service "Hello" {
  instance {}
}
service "hello_world" {
  instance {}
}
service "-hello" {
  instance {}
}
service "hello-00001" {
  instance {}
}
service "wadi-activator" {
  instance {}
}
service "a-name-that-is-longer-than-forty-letters-x" {
  instance {}
}
service "domains-1" {
  domains = ["Example.com"]
  instance {}
}
service "domains-2" {
  domains = ["example.com:80"]
  instance {}
}
service "domains-3" {
  domains = ["10.0.0.1"]
  instance {}
}
service "domains-4" {
  domains = ["*.example.com"]
  instance {}
}
service "domains-5" {
  domains = ["a.${join(".", [for i in range(0, 100) : "abc"])}"]
  instance {}
}
