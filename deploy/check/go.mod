module holdmetrics/deploy/check

go 1.26.7
