queue_proxy {
  config {
    image = "wadi/queue-proxy:0.1"
  }
  resources {
    cpuu = 50
  }
}
mesh {
  sidecar_task {
    driver = 7
  }
}
defaults {
  mesh = "sometimes"
  scale {
    window = "soon"
    max_up = 3
    metric "lag" {
    }
    schedule "office" {
      cron = "at eight"
    }
  }
  traffic {
  }
}
