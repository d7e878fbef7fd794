"""Published paired data, and tables that are drawn."""

from __future__ import annotations

from functools import cache

import numpy as np

from engine.stats.paired import (
    Pairs,
    mcnemar,
)

TUNED = Pairs(241, 57, 2, 0)  # 298 of 300 against 243 of 300
APPROVAL = Pairs(794, 150, 86, 570)  # data of R's help page of mcnemar.test (Agresti 1990, p. 350)
BENTUR = Pairs(1, 1, 7, 12)  # Bentur et al. 2009, in Fagerland, Lydersen and Laake 2014
CAVO = Pairs(59, 6, 16, 80)  # Cavo et al. 2012, in the R package contingencytables, tests of chapter 8
# R's data set sleep (Student 1908): extra hours of sleep under two drugs.
SLEEP_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
# R, help page of wilcox.test (Hollander and Wolfe 1973, p. 29): depression scale at two visits.
DEPRESSION_1 = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
DEPRESSION_2 = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
# Darwin's maize, differences in eighths of an inch; scipy's help page of wilcoxon.
MAIZE = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]
# Benjamini and Hochberg 1995, section 4: fifteen p values of a trial.
TRIAL = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]  # fmt: skip


def swapped(table: Pairs) -> Pairs:
    return Pairs(table.both, table.lost, table.gained, table.neither)


@cache
def mcnemar_p(n: int, gained: int, lost: int, exact: bool) -> float:
    return mcnemar(Pairs(n - gained - lost, gained, lost, 0), exact=exact).p


def drawn_tables(shares: list[float], n: int, times: int, seed: int) -> list[Pairs]:
    return [Pairs(*map(int, row)) for row in np.random.default_rng(seed).multinomial(n, shares, size=times)]
