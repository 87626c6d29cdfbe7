"""Fill the gaps of weekly carbon dioxide: free trend columns, sparse waves, lambda by leaving out half years.

A column with lambda 0 is never shrunk. Folds that hold out blocks of time ask for what is wanted, a
prediction across a gap; single weeks left out are predicted by their neighbours whatever lambda is.
"""

from __future__ import annotations

import numpy as np

import sparseinv as si


def main(weeks: int | None = None) -> dict[str, float]:
    """Hold out half years in turn from the series with its real gaps, and predict them."""
    from statsmodels.datasets import co2

    values = np.asarray(co2.load_pandas().data["co2"], dtype=float)[:weeks]
    years = np.arange(values.size) * 7.0 / 365.25
    measured = ~np.isnan(values)
    half_year = np.floor(2.0 * years).astype(int)
    held = measured & (half_year % 7 == 3)
    known = measured & ~held

    # twice as many lines as the record resolves, up to four cycles a year; no period is told
    lines = 0.5 / years[-1] * np.arange(1, int(8.4 * years[-1]) + 1)
    waves = [f(2 * np.pi * np.outer(years, lines)) for f in (np.cos, np.sin)]
    u = np.linspace(-1.0, 1.0, values.size)
    D = np.hstack([np.stack([u**0, u, u**2], axis=1), *waves])
    weights = np.r_[np.zeros(3), np.ones(2 * lines.size)]

    A, b = np.asfortranarray(D[known]), values[known]
    folds = si.CrossValidation(5, groups=half_year[known])
    chosen = si.select_lam(A, b, si.L1(weights=weights), folds, n_lams=40, ratio=1e-3)
    result = chosen.result
    print(chosen)

    linear = np.interp(years, years[known], b)
    scores = {}
    for name, estimate in (("linear", linear), ("L1", D @ result.x)):
        scores[name] = float(np.sqrt(np.mean((estimate - values)[held] ** 2)))
        print(f"{name:<8}{scores[name]:6.2f} ppm at the {held.sum()} weeks held out")
    return scores


if __name__ == "__main__":
    main()
