# Standard errors of the static two-way coefficient on mpdta, every county a dummy: the rows with
# status "run here" of data/published/did.csv. R 4.2.2, sandwich 3.0.2, clubSandwich 0.5.8; a minute.
# The table comes from the loader:
#   python -c "import evalkit as ek; ek.sources.minimum_wage().to_csv('mpdta.csv', index=False)"
#   Rscript tests/goldens/make_two_way.R mpdta.csv
suppressMessages({library(sandwich); library(clubSandwich)})
data <- read.csv(commandArgs(trailingOnly = TRUE)[1])
data$d <- as.numeric(!is.na(data$adopted) & data$year >= data$adopted)
fit <- lm(log_employment ~ d + factor(county) + factor(year), data)
say <- function(name, value) cat(sprintf("%s: %.10f\n", name, value))
say("iid", sqrt(vcov(fit)["d", "d"]))
say("HC1", sqrt(vcovHC(fit, "HC1")["d", "d"]))
for (kind in c("CR0", "CR1")) say(kind, sqrt(vcovCR(fit, data$county, kind)["d", "d"]))
for (kind in c("CR0", "CR1", "CR2")) {
  tested <- coef_test(fit, vcovCR(fit, data$state, kind), test = "Satterthwaite", coefs = "d")
  say(paste("by state,", kind), tested$SE)
  if (kind == "CR2") say("by state, CR2, dof", tested$df_Satt)
}
