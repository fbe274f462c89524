# Writes growth.csv: growth percentiles of the London schools by quantreg, as the SGP package makes
# them: cubic B-splines of the prior score with knots at its quintiles, rounded to three decimals,
# boundaries a tenth of the range beyond it; a hundred regression quantiles by the simplex method;
# predictions sorted for each pupil and rounded to five decimals; the percentile is the number of
# predictions below the score, from 1 to 99.
#
# Run once: Rscript tests/goldens/make_growth.R  (R 4.2.2, quantreg 5.94, mlmRev 1.0-8).

suppressMessages({library(quantreg); library(splines); library(mlmRev)})
x <- Exam$standLRT; y <- Exam$normexam
taus <- (1:100 - 0.5) / 100
knots <- round(quantile(x, c(0.2, 0.4, 0.6, 0.8)), 3)
ends <- round(extendrange(x, f = 0.1), 3)
b <- cbind(1, bs(x, knots = knots, Boundary.knots = ends))
beta <- suppressWarnings(sapply(taus, function(tau) rq.fit(b, y, tau = tau, method = "br")$coefficients))
objective <- sapply(seq_along(taus), function(k) {
  u <- y - b %*% beta[, k]
  sum(u * (taus[k] - (u < 0)))
})
p <- round(t(apply(b %*% beta, 1, sort)), 5)
sgp <- pmin(pmax(rowSums(p < y), 1), 99)
out <- data.frame(pupil = seq_along(sgp), percentile = sgp)
write.csv(out, "tests/goldens/growth.csv", row.names = FALSE, eol = "\n")
write.csv(data.frame(tau = taus, objective = sprintf("%.12g", objective)),
          "tests/goldens/growth_objective.csv", row.names = FALSE, quote = FALSE, eol = "\n")
cat(head(sgp, 20), "\n", as.character(packageVersion("quantreg")), "\n")
