service "shop" {
  instance {}
  route "Bad Name" {
    match { path_prefix = "/a" }
    tag = "canary"
  }
  route "no-match" {
    tag = "canary"
  }
  route "nothing" {
    match {}
    tag = "canary"
  }
  route "nowhere" {
    match { path_prefix = "/b" }
  }
  route "two" {
    match { path_prefix = "/c" }
    tag     = "canary"
    service = "other"
  }
  route "itself" {
    match { path_prefix = "/d" }
    service = "shop"
  }
  route "latest" {
    match { path_prefix = "/e" }
    revision = "latest"
  }
  route "foreign" {
    match { path_prefix = "/f" }
    revision = "other-00001"
  }
  route "both-paths" {
    match {
      path        = "/g"
      path_prefix = "/g"
    }
    tag = "canary"
  }
  route "paths" {
    match { path = "/g?a=b" }
    prefix_rewrite = "//evil.example.com"
  }
  route "escapes" {
    match { path_prefix = "relative" }
    prefix_rewrite = "/%zz"
  }
  route "slash" {
    match { path_prefix = "/h/" }
    prefix_rewrite = "/x"
  }
  route "rewrite-of-nothing" {
    match { methods = ["GET"] }
    prefix_rewrite = "/x"
  }
  route "methods" {
    match { methods = ["get", "CONNECT", "GET", "GET"] }
    tag = "canary"
  }
  route "same" {
    match { path_prefix = "/c" }
    tag = "canary"
  }
  route "same" {
    match { path_prefix = "/i" }
    tag = "canary"
  }
}
service "fields" {
  instance {}
  route "headers" {
    match {
      header "a b" { present = true }
      header "Wadi-Tag" { exact = "canary" }
      header "Host" { exact = "a.example.com" }
      header "X-Forwarded-For" { prefix = "10." }
      header "Cookie" { prefix = "a=" }
      header "X-None" {}
      header "X-Absent" { present = false }
      header "X-Two" {
        exact  = "a"
        suffix = "b"
      }
      header "X-Space" { exact = " a" }
      header "X-Again" { present = true }
      header "X-Again" { present = true }
      query "a=b" { present = true }
      query "ok" { exact = "a&b" }
    }
    tag = "canary"
  }
}
service "redirects" {
  instance {}
  route "to-itself" {
    match { path_prefix = "/a" }
    redirect {}
  }
  route "loop" {
    match { path_prefix = "/b" }
    redirect { path = "/b/c" }
  }
  route "long-loop" {
    match { path = "/c" }
    redirect { path = "/d" }
  }
  route "way" {
    match { path = "/d" }
    redirect { path = "/c" }
  }
  route "code" {
    match { path = "/e" }
    redirect {
      path = "/f"
      code = 304
    }
  }
  route "scheme" {
    match { path = "/g" }
    redirect {
      scheme = "https"
      path   = "/h"
    }
  }
  route "hosts" {
    match { path = "/i" }
    redirect { host = "a.example.com:port" }
  }
  route "no-host" {
    match { path = "/j" }
    redirect { host = "https://a.example.com" }
  }
  route "two-paths" {
    match { path = "/k" }
    prefix_rewrite = "/l"
    redirect { path = "/m" }
  }
}
service "calls" {
  protocol = "grpc"
  instance {}
  route "away" {
    match { path_prefix = "/shop.v1.Shop" }
    redirect { host = "a.example.com" }
  }
}
service "not-built" {
  instance {}
  route "names" {
    path    = "/a"
    percent = 10
    timeout = "5s"
    match {
      path       = "/a"
      path_regex = "/a.*"
      host       = "a.example.com"
      method     = "GET"
      header "X-A" {
        regex = "a.*"
      }
      header "X-B" {
        exact  = "b"
        invert = true
      }
    }
    tag = "canary"
  }
}
service "rewritten-query" {
  instance {}
  route "r" {
    match {
      path_prefix = "/a"
    }
    prefix_rewrite = "/b?c=d"
  }
}
