http { auth = "token" }
