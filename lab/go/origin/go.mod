module towline.dev/lab/origin

go 1.25.0
