# Second moments of the Windsor houses (Anglin and Gencay 1996), on which psacalc and robomit print:
# Rscript tests/goldens/make_oster.R > tests/goldens/oster.csv. R 4.2.2 with AER 1.2-10.
# Printed by Schaub (2021), "robomit: Robustness Checks for Omitted Variable Bias", with psacalc beside
# it: log price on log lot size, controls bedrooms, bathrooms and driveway, r2max 1.3 x 0.5316.
suppressMessages(library(AER))
data(HousePrices)
z <- with(HousePrices, cbind(log(price), log(lotsize), bedrooms, bathrooms, driveway == "yes"))
write.table(format(cov(z), digits = 15), quote = FALSE, sep = ",", row.names = FALSE,
            col.names = c("price", "lot", "bedrooms", "bathrooms", "driveway"))
