module towline.dev/lab/lookup

go 1.25.0
