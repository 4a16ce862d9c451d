service "metrics" {
  instance {}
  scale {
    metric "lag" {
    }
    metric "rps" {
    }
    metric "rps" {
      target = 5
    }
    metric "cpu" {
      target      = 1001
      utilization = 2
    }
    metric "memory" {
      limit = 5
    }
    metric {
    }
  }
}
service "schedules" {
  instance {}
  scale {
    max = 4
    schedule "office" {
    }
    schedule "office" {
      cron = "0 8 * * *"
    }
    schedule "words" {
      cron     = "every morning"
      duration = "30s"
      timezone = "Berlin"
      min      = -1
    }
    schedule "six fields" {
      cron     = "0 0 8 * * *"
      duration = "169h"
      timezone = "Local"
      min      = 101
    }
    schedule "zone" {
      cron     = "TZ=Europe/Berlin 0 8 * * *"
      duration = "1h"
      timezone = ""
      min      = 5
    }
    schedule "every" {
      cron     = "@every 1h"
      duration = "1h"
      timezone = "../etc/passwd"
      min      = 1.5
    }
    schedule "never" {
      cron     = "0 0 30 2 *"
      duration = 10
      min      = "two"
    }
    schedule "hours" {
      cron     = "0 25 * * mon-fri"
      duration = "1h"
      min      = 1
    }
    schedule "" {
      cron = "@daily"
    }
  }
}
service "pair" {
  instance {}
  scale {
    max = 4
    schedule "rush" {
      cron     = "0 8 * * *"
      duration = "1h"
      min      = 5
    }
  }
}
