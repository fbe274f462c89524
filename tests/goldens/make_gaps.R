# Reference values for the gaps: Rscript tests/goldens/make_gaps.R > tests/goldens/gaps.csv
# R 4.2.2 with mlmRev 1.0-8, pROC 1.18.0, ordinal 2022.11-16, quantreg 5.94, lme4 1.1-31.
suppressMessages({
  library(mlmRev); library(pROC); library(ordinal); library(quantreg); library(lme4)
})
out <- function(key, value) cat(sprintf("%s,%.12g\n", key, value), sep = "")
cat("key,value\n")

data(Exam)
Exam$band <- cut(Exam$normexam, c(-Inf, -.75, 0, .75, Inf), right = TRUE, labels = FALSE)

# Probability to outscore and its DeLong variance, girls against boys.
area <- roc(Exam$sex == "F", Exam$normexam, direction = "<", quiet = TRUE)
out("exam_outscore", as.numeric(area$auc))
out("exam_outscore_delong", var(area))

# V from four bands: cumulative link model with a scale.
exact <- clm.control(gradTol = 1e-10)
fit <- clm(factor(band) ~ sex, scale = ~sex, link = "probit", data = Exam, control = exact)
out("exam_band_gap", -fit$beta / sqrt((1 + exp(2 * fit$zeta)) / 2))
out("exam_band_gap_loglik", as.numeric(logLik(fit)))

# The twenty largest schools: means and log standard deviations against the first of them.
large <- names(sort(-table(Exam$school)))[1:20]
part <- droplevels(Exam[Exam$school %in% large, ])
part$school <- factor(part$school, levels = sort(as.integer(large)))
fit <- clm(factor(band) ~ school, scale = ~school, link = "probit", data = part, control = exact)
out("schools_loglik", as.numeric(logLik(fit)))
out(paste0("schools_beta_", 2:20), fit$beta)
out(paste0("schools_zeta_", 2:20), fit$zeta)

# Bandwidth of Hall and Sheather.
for (p in c(.1, .5, .75)) for (n in c(50, 1000))
  out(sprintf("bandwidth_%g_%g", p, n), bandwidth.rq(p, n, hs = TRUE, alpha = .05))

# Share of variance between balanced schools: REML is the analysis of variance.
balanced <- do.call(rbind, lapply(split(Exam, Exam$school), function(s) if (nrow(s) >= 40) s[1:40, ]))
fit <- lmer(normexam ~ 1 + (1 | school), data = balanced)
v <- as.data.frame(VarCorr(fit))$vcov
out("balanced_icc", v[1] / sum(v))
out("balanced_schools", length(unique(balanced$school)))
