service "off" {
  mesh = "off"
  instance {}
  intentions {
    allow = ["web"]
  }
}
service "two" {
  instance {}
  intentions {
    allow = []
  }
  intentions {
    allow = ["web"]
  }
}
service "label" {
  instance {}
  intentions "web" {
    allow = ["web"]
  }
}
service "empty" {
  instance {}
  intentions {}
}
service "twice" {
  instance {}
  intentions {
    allow = ["web", "web"]
  }
}
service "type" {
  instance {}
  intentions {
    allow = "web"
  }
}
service "element" {
  instance {}
  intentions {
    allow = ["web", 7]
  }
}
service "pattern" {
  instance {}
  intentions {
    allow = ["web-*"]
  }
}
service "name" {
  instance {}
  intentions {
    allow = ["web billing"]
  }
}
service "ours" {
  instance {}
  intentions {
    allow = ["wadi-gateway"]
  }
}
service "more" {
  instance {}
  intentions {
    allow = ["*"]
    deny  = ["web"]
  }
}
