service "sum" {
  instance {}
  traffic {
    revision = "latest"
    percent  = 90
  }
  traffic {
    revision = "sum-00001"
    percent  = 9.99
  }
}
service "half" {
  instance {}
  traffic {
    revision = "latest"
    percent  = 50
  }
}
service "steps" {
  instance {}
  traffic {
    revision = "latest"
    percent  = 100 / 3
  }
  traffic {
    revision = "steps-00001"
    percent  = -1
  }
  traffic {
    revision = "steps-00002"
    percent  = "many"
  }
}
service "twice" {
  instance {}
  traffic {
    revision = "latest"
    percent  = 50
  }
  traffic {
    revision = "latest"
    percent  = 50
  }
  traffic {
    revision = "latest"
    tag      = "new"
  }
  traffic {
    revision = "twice-00001"
    tag      = "new"
  }
}
service "nothing" {
  instance {}
  traffic {
    revision = "latest"
    percent  = 100
  }
  traffic {
    revision = "nothing-00001"
  }
  traffic {
    revision = "nothing-00002"
    percent  = 0
  }
}
service "tags" {
  instance {}
  traffic {
    revision = "latest"
    percent  = 100
    tag      = "New"
  }
  traffic {
    revision = "tags-00001"
    tag      = "-x"
  }
  traffic {
    revision = "tags-00001"
    tag      = "wadi"
  }
  traffic {
    revision = "tags-00001"
    tag      = ""
  }
  traffic {
    revision = "tags-00001"
    tag      = "a.b"
  }
  traffic {
    revision = "tags-00001"
    tag      = 7
  }
}
service "a-service-whose-name-has-40-characters-a" {
  instance {}
  traffic {
    revision = "latest"
    percent  = 100
    tag      = "a-tag-of-22-characters"
  }
  traffic {
    revision = "latest"
    tag      = "a-tag-of-23-charactersx"
  }
}
service "names" {
  instance {}
  traffic {
    revision = "other-00001"
    percent  = 100
  }
  traffic {
    tag = "x"
  }
}
