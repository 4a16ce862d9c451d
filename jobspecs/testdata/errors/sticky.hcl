service "neither" {
  instance {}
  sticky {}
}
service "ttl-of-nothing" {
  instance {}
  sticky {
    header = "X-User-ID"
    ttl    = "1h"
  }
}
service "names" {
  instance {}
  sticky {
    cookie = "a b"
    header = "Wadi-Tag"
  }
}
service "prefix" {
  instance {}
  sticky {
    cookie = "__Host-hello"
    header = "Connection"
  }
}
service "cookies" {
  instance {}
  sticky {
    header = "cookie"
  }
}
service "hidden" {
  visibility = "mesh"
  instance {}
  sticky {
    cookie = "hidden"
  }
  mirror {
    tag     = "canary"
    percent = 5
  }
}
service "calls" {
  protocol = "grpc"
  instance {}
  sticky {
    cookie = "calls"
  }
  mirror {
    tag     = "canary"
    percent = 5
    methods = ["GET"]
  }
}
service "short" {
  instance {}
  sticky {
    cookie = "short"
    ttl    = "90.5s"
  }
}
service "untagged" {
  instance {}
  traffic {
    revision = "latest"
    percent  = 100
    tag      = "live"
  }
  traffic {
    revision = "untagged-00001"
    tag      = "old"
  }
  mirror {
    tag     = "canary"
    percent = 5
  }
}
service "no-tag" {
  instance {}
  traffic {
    revision = "latest"
  }
  mirror {
    tag     = "canary"
    percent = 5
  }
}
service "incomplete" {
  instance {}
  mirror {}
}
service "methods" {
  instance {}
  mirror {
    tag     = "canary"
    percent = 0.001
    methods = ["get", "CONNECT", "GET", "GET", ""]
  }
}
service "no-method" {
  instance {}
  mirror {
    tag     = "Canary"
    percent = 101
    methods = []
  }
}
service "twice" {
  instance {}
  sticky {
    header = "X-User-ID"
  }
  sticky {
    header = "X-User-ID"
  }
}
service "slow" {
  instance {}
  rollout {
    duration = "48h"
  }
  sticky {
    cookie = "slow"
  }
}
