# Writes lme4.csv: mixed models on public data by lme4, refined until the gradient is zero.
#
# Run once: Rscript tests/goldens/make_lme4.R  (R 4.2.2, lme4 1.1-31, mlmRev 1.0-8, nlme 3.1-162).
# lme4's optimiser stops at about 1e-5 of the variances; here Newton steps with five-point
# differences of its own deviance function go on until nothing moves. A parameter that lme4 puts at
# zero stays there. Prediction errors are lme4's condVar: given the variances and the coefficients.

suppressMessages({library(lme4); library(mlmRev)})
data(MathAchieve, package = "nlme")

gradient <- function(f, x, free, h) {
  sapply(free, function(i) {
    e <- replace(numeric(length(x)), i, h[i])
    (8 * (f(x + e) - f(x - e)) - (f(x + 2 * e) - f(x - 2 * e))) / (12 * h[i])
  })
}

refined <- function(f, x) {
  free <- which(abs(x) > 1e-6)
  x[setdiff(seq_along(x), free)] <- 0
  if (!length(free)) return(x)
  h <- 1e-3 * pmax(abs(x), 1e-2)
  for (step in 1:6) {
    g <- gradient(f, x, free, h)
    H <- sapply(free, function(i) {
      e <- replace(numeric(length(x)), i, h[i])
      (gradient(f, x + e, free, h) - gradient(f, x - e, free, h)) / (2 * h[i])
    })
    move <- solve((H + t(H)) / 2, g)
    x[free] <- x[free] - move
    if (max(abs(move)) < 1e-9) break
  }
  x
}

rows <- list()
add <- function(...) rows[[length(rows) + 1]] <<- data.frame(...)

write_fit <- function(key, formula, data) {
  for (reml in c(TRUE, FALSE)) {
    first <- lmer(formula, data, REML = reml, control = lmerControl(
      check.conv.singular = "ignore", optCtrl = list(ftol_abs = 1e-12, xtol_abs = 1e-10)))
    f <- update(first, devFunOnly = TRUE)
    x <- refined(f, getME(first, "theta"))
    stopifnot(f(x) <= f(getME(first, "theta")) + 1e-9)
    m <- mkMerMod(environment(f), list(par = x, fval = f(x), conv = 0, feval = 0),
                  lFormula(formula, data, REML = reml)$reTrms, fr = first@frame)
    f(x)
    method <- if (reml) "reml" else "ml"
    put <- function(part, level, term, value, error = NA)
      add(key = key, method = method, part = part, level = level, term = term,
          value = value, error = error)
    put("criterion", "", "", if (reml) REMLcrit(m) else -2 * as.numeric(logLik(m)))
    b <- fixef(m); s <- sqrt(diag(as.matrix(vcov(m))))
    for (i in seq_along(b)) put("fixed", "", names(b)[i], b[i], s[i])
    v <- as.data.frame(VarCorr(m))
    for (i in seq_len(nrow(v)))
      put("variance", v$grp[i], paste(na.omit(c(v$var1[i], v$var2[i])), collapse = ","), v$vcov[i])
    r <- ranef(m, condVar = TRUE)
    for (level in names(r)) {
      post <- attr(r[[level]], "postVar")
      for (k in seq_along(r[[level]])) for (i in 1:min(10, nrow(r[[level]])))
        put("effect", level, paste(names(r[[level]])[k], rownames(r[[level]])[i], sep = "|"),
            r[[level]][i, k], sqrt(post[k, k, i]))
    }
    cat(key, method, "done\n")
  }
}

star3 <- droplevels(subset(star, gr == "3" & !is.na(math)))
gcse <- na.omit(Gcsemv)

write_fit("exam_null", normexam ~ 1 + (1 | school), Exam)
write_fit("exam_va", normexam ~ standLRT + (1 | school), Exam)
write_fit("exam_va_slope", normexam ~ standLRT + (standLRT | school), Exam)
write_fit("exam_va_context", normexam ~ standLRT + sex + schgend + schavg + (1 | school), Exam)
write_fit("chem97_null", score ~ 1 + (1 | school) + (1 | lea), Chem97)
write_fit("chem97_va", score ~ gcsecnt + gender + age + (1 | school) + (1 | lea), Chem97)
write_fit("chem97_va2", score ~ gcsecnt + gender + age + (1 | school), Chem97)
write_fit("scotssec", attain ~ verbal + sex + (1 | primary) + (1 | second), ScotsSec)
write_fit("egsingle", math ~ year + (1 | childid) + (1 | schoolid), egsingle)
write_fit("egsingle_slope", math ~ year + (year | childid) + (year | schoolid), egsingle)
write_fit("star3", math ~ cltype + (1 | tch) + (1 | sch), star3)
write_fit("gcse", course ~ written + gender + (1 | school), gcse)
write_fit("early", cog ~ tos * trt + (tos | id), transform(Early, tos = age - 0.5))
write_fit("math_achieve", MathAch ~ SES + Sex + (SES | School), as.data.frame(MathAchieve))
write_fit("pastes", strength ~ 1 + (1 | sample) + (1 | batch), Pastes)
write_fit("penicillin", diameter ~ 1 + (1 | plate) + (1 | sample), Penicillin)
write_fit("dyestuff2", Yield ~ 1 + (1 | Batch), Dyestuff2)

out <- do.call(rbind, rows)
out$value <- sprintf("%.12g", out$value)
out$error <- ifelse(is.na(out$error), "", sprintf("%.12g", out$error))
write.csv(out, "tests/goldens/lme4.csv", row.names = FALSE, quote = TRUE, eol = "\n")
