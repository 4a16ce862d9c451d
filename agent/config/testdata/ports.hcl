gateway {
  public_port = 65536
  tls {
    public_port = -1
    cert_dir    = "testdata"
  }
}
queue_proxy {
  driver = "docker"
}
