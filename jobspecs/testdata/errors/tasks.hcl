# ask nomad
service "none" {
  instance {}
}
service "lifecycle-only" {
  instance {
    task "init" {
      driver = "raw_exec"
      lifecycle {
        hook = "prestart"
      }
    }
  }
}
service "several" {
  instance {
    task "a" {
      driver = "raw_exec"
    }
    task "b" {
      driver = "raw_exec"
    }
  }
}
service "missing" {
  instance {
    task "a" {
      driver = "raw_exec"
    }
  }
  serving_task = "b"
}
service "init" {
  instance {
    task "a" {
      driver = "raw_exec"
    }
    task "init" {
      driver = "raw_exec"
      lifecycle {
        hook = "prestart"
      }
    }
  }
  serving_task = "init"
}
