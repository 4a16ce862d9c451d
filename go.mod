module github.com/wadi-run/wadi

go 1.26
