# vars: count=many list=[1 extra=5 given=7 flag=perhaps nested=[["a"]]
variable "count" {
  type    = number
  default = 1
}
variable "list" {
  type = list(string)
}
variable "nested" {
  type = list(list(number))
}
variable "flag" {
  type = bool
}
variable "given" {
  type = string
}
variable "unset" {
}
variable "wrong" {
  type    = number
  default = "five"
}
variable "kind" {
  type = integer
}
variable "call" {
  default = upper("a")
}
variable "5x" {
}
variable "given" {
}
variable "odd" {
  default = 1
  secret  = true
}
locals {
  a    = local.b
  b    = local.a
  c    = var.nope
  d    = 1
  same = 1
}
locals {
  same = 2
}
service "hello" {
  port      = var.nothing
  priority  = local.a
  namespace = local.nothing
  node_pool = local.c
  meta = {
    x = local.d.e
    y = nosuch(1)
  }
  instance {
    task "web" {}
  }
}
