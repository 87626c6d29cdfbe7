"""Rules that choose lambda: their criteria in plain NumPy, their invariances, what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse

import sparseinv as si
from cases import Products, generator
from sparseinv.selection.residual_rules import corner

TIGHT = 1e-12


def data(key=0, m=40, n=25, number="real", noise=0.5):
    rng = generator(420, key)

    def normal(*shape):
        v = rng.standard_normal(shape)
        return (v + 1j * rng.standard_normal(shape)) / math.sqrt(2) if number == "complex" else v

    A = normal(m, n)
    x = np.zeros(n)
    x[rng.permutation(n)[:4]] = 2.0
    return A, A @ x + noise * normal(m)


def levels(A, b, penalty, count=12, ratio=0.05):
    """Return (lams, solutions) of a path solved level by level from nothing."""
    top = si.lam_max(A, b, penalty)
    lams = (top if np.isfinite(top) else 100.0) * np.geomspace(0.9, ratio, count)
    return lams, [si.solve(A, b, penalty.replace(lam=t), tol=1e-13).x for t in lams]


def chosen(A, b, penalty, selector, lams, **options):
    return si.select_lam(A, b, penalty, selector, lams=lams, tol=TIGHT, **options)


GROUPS = np.arange(25) // 5
PENALTIES = {
    "L1": si.L1(),
    "elastic net": si.ElasticNet(l1_ratio=0.7),
    "groups": si.GroupL1(groups=GROUPS),
    "L2": si.L2(),
    "weights": si.L1(weights=np.r_[0.0, np.inf, 3.0, np.ones(22)]),
}
PATH_RULES = {
    "SURE": si.SURE(sigma=0.5),
    "SURE, estimated": si.SURE(),
    "SURE, probes": si.SURE(sigma=0.5, probes=1),
    "GCV": si.GCV(),
    "robust GCV": si.GCV(robust=True),
    "LeaveOneOut": si.LeaveOneOut(),
    "AIC": si.InformationCriterion("aic"),
    "EBIC": si.InformationCriterion("ebic"),
    "AICc": si.InformationCriterion("aicc", refit=False),
    "TargetMisfit": si.TargetMisfit(sigma=0.5),
    "Whiteness": si.Whiteness(),
    "LCurve": si.LCurve(),
    "HoldOut": si.HoldOut(0.25, seed=3),
}
LEVEL_RULES = {
    "Pivotal": si.Pivotal(),
    "Pivotal 0.05": si.Pivotal(alpha=0.05),
    "Universal": si.Universal(sigma=0.5),
    "QuantileUniversal": si.QuantileUniversal(sigma=0.5, draws=50),
    "TargetSparsity": si.TargetSparsity(3),
    "Stability": si.Stability(pairs=3),
}


# --- criteria against plain NumPy ----------------------------------------------------------------------


@pytest.mark.parametrize("number", ["real", "complex"])
@pytest.mark.parametrize("kind", PENALTIES)
def test_sure_and_gcv(kind, number):
    A, b = data(number=number)
    penalty = PENALTIES[kind]
    lams, X = levels(A, b, penalty)
    df = np.array(
        [si.degrees_of_freedom(A, b, penalty.replace(lam=t), x) for t, x in zip(lams, X, strict=True)]
    )
    rss = np.array([np.linalg.norm(A @ x - b) ** 2 for x in X])
    sure = chosen(A, b, penalty, si.SURE(sigma=0.5), lams)
    np.testing.assert_allclose(sure.criterion, rss - 40 * 0.25 + 2 * 0.25 * df, rtol=1e-6, atol=1e-6)
    assert sure.lam == lams[np.argmin(sure.criterion)]
    gcv = chosen(A, b, penalty, si.GCV(), lams)
    np.testing.assert_allclose(gcv.criterion, rss / 40 / (1 - df / 40) ** 2, rtol=1e-6)


def test_sure_is_unbiased_for_the_risk():
    rng = generator(421)
    A = rng.standard_normal((30, 20))
    truth = A[:, 0] - A[:, 7]
    lams = si.lam_max(A, truth, si.L1()) * np.geomspace(0.8, 0.1, 4)
    gap = []
    for _ in range(150):
        b = truth + 0.7 * rng.standard_normal(30)
        found = si.select_lam(A, b, si.L1(), si.SURE(sigma=0.7), lams=lams)
        risks = np.linalg.norm(A @ found.path.X - truth[:, None], axis=0) ** 2
        gap.append(found.criterion - risks)
    gap = np.array(gap)
    error = gap.std(axis=0, ddof=1) / math.sqrt(len(gap))
    assert (np.abs(gap.mean(axis=0)) < 4.0 * error).all()


@pytest.mark.parametrize("number", ["real", "complex"])
def test_probes_agree_with_exact_degrees_of_freedom(number):
    A, b = data(m=60, number=number)
    lams, _ = levels(A, b, si.L1(), 6)
    exact = chosen(A, b, si.L1(), si.SURE(sigma=0.5), lams).criterion
    probed = chosen(A, b, si.L1(), si.SURE(sigma=0.5, probes=60), lams).criterion
    # 2 sigma^2 times an error of the degrees of freedom of about sqrt(2 df / 60)
    assert np.abs(probed - exact).max() < 0.5 * 4.0 * math.sqrt(2 * 25 / 60)


def test_robust_gcv_for_ridge():
    A, b = data()
    lams = np.geomspace(50, 0.5, 6)
    found = chosen(A, b, si.L2(), si.GCV(robust=True, gamma=0.8), lams).criterion
    expected = []
    for t in lams:
        H = A @ np.linalg.solve(A.T @ A + t * np.eye(25), A.T)
        r = b - H @ b
        plain = r @ r / 40 / (1 - np.trace(H) / 40) ** 2
        expected.append(plain * (0.8 + 0.2 * np.trace(H @ H) / 40))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def brute_leave_one_out(A, b, penalty, t):
    errors = []
    for i in range(b.size):
        kept = np.arange(b.size) != i
        x = si.solve(A[kept], b[kept], penalty.replace(lam=t), tol=1e-14).x
        errors.append(A[i] @ x - b[i])
    return np.mean(np.abs(errors) ** 2)


@pytest.mark.parametrize("shape", [(30, 12), (20, 30)])
@pytest.mark.parametrize("number", ["real", "complex"])
@pytest.mark.parametrize("weights", [None, "some"])
def test_leave_one_out_is_exact_for_ridge(number, shape, weights):
    A, b = data(m=shape[0], n=shape[1], number=number)
    if weights:
        weights = np.r_[0.0, np.inf, 2.0, np.ones(shape[1] - 3)]
    penalty = si.L2(weights=weights)
    lams = np.array([30.0, 3.0])
    found = chosen(A, b, penalty, si.LeaveOneOut(), lams).criterion
    np.testing.assert_allclose(
        found, [brute_leave_one_out(A, b, penalty, t) for t in lams[: found.size]], rtol=1e-10
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", ["real", "complex"])
@pytest.mark.parametrize("kind", ["L1", "elastic net", "groups"])
def test_approximate_leave_one_out_is_close(kind, number):
    A, b = data(m=50, number=number)
    penalty = PENALTIES[kind]
    lams, _ = levels(A, b, penalty, 8)
    found = chosen(A, b, penalty, si.LeaveOneOut(), lams).criterion
    exact = np.array([brute_leave_one_out(A, b, penalty, t) for t in lams[: found.size]])
    assert found.size >= 6
    assert np.median(np.abs(found / exact - 1.0)) <= 0.05


@pytest.mark.parametrize("number", ["real", "complex"])
def test_information_criteria_of_the_refit(number):
    A, b = data(number=number)
    lams, X = levels(A, b, si.L1())
    parts = 2 if number == "complex" else 1
    N = 40 * parts
    choices = [math.log(math.comb(25, k)) for k in range(26)]
    expected = {"aic": [], "aicc": [], "bic": [], "ebic": []}
    for x in X:
        S = np.flatnonzero(x)
        r = b - A[:, S] @ np.linalg.lstsq(A[:, S], b)[0]
        fit, D = N * math.log(np.linalg.norm(r) ** 2 / N), parts * S.size
        expected["aic"].append(fit + 2 * D)
        expected["aicc"].append(fit + 2 * D * N / (N - D - 1))
        expected["bic"].append(fit + D * math.log(N))
        expected["ebic"].append(fit + D * math.log(N) + 2 * choices[S.size])
    for kind, values in expected.items():
        found = chosen(A, b, si.L1(), si.InformationCriterion(kind), lams)
        judged = np.isfinite(found.criterion)  # without fits of half as many parameters as data
        assert judged.sum() >= 8
        expected_values = np.array(values)[: judged.size]
        np.testing.assert_allclose(found.criterion[judged], expected_values[judged], rtol=1e-8)
        assert found.lam == lams[np.argmin(found.criterion)]


def test_saturated_refits_are_no_likelihood():
    A = np.eye(60)
    b = np.r_[9.0, -8.0, 7.0, np.zeros(57)] + generator(432).standard_normal(60)
    # without the bound the last levels, which reproduce b, would win
    found = si.solve(A, b, si.L1(), select=si.InformationCriterion("ebic"))
    assert 3 <= np.count_nonzero(found.x) <= 8


def test_information_criterion_with_sigma_and_shrinkage():
    A, b = data()
    lams, X = levels(A, b, si.L1())
    found = chosen(A, b, si.L1(), si.InformationCriterion("bic", refit=False, sigma=0.5), lams)
    expected = [np.linalg.norm(A @ x - b) ** 2 / 0.25 + np.count_nonzero(x) * math.log(40) for x in X]
    np.testing.assert_allclose(found.criterion, expected[: found.criterion.size], rtol=1e-7)


def test_whiteness_is_the_energy_of_the_autocorrelation():
    A, b = data(n=20)
    lams, X = levels(A, b, si.L1())
    found = chosen(A, b, si.L1(), si.Whiteness(), lams).criterion
    expected = []
    for x in X:
        r = A @ x - b
        lagged = np.array([r @ np.roll(r, k) for k in range(40)])
        expected.append((lagged**2).sum() / (r @ r) ** 2 / 40)
    np.testing.assert_allclose(found, np.array(expected), rtol=1e-6)


def test_whiteness_per_trace():
    A, b = data(m=40)
    lams, X = levels(A, b, si.L1(), 5)
    rule = si.Whiteness(shape=(8, 5), axis=0)
    found = chosen(A, b, si.L1(), rule, lams).criterion
    for k, x in enumerate(X):
        R = np.abs(np.fft.fft((A @ x - b).reshape(8, 5), axis=0)) ** 2
        each = (R**2).sum(axis=0) / R.sum(axis=0) ** 2
        assert found[k] == pytest.approx(np.average(each, weights=R.sum(axis=0)), rel=1e-6)


def test_hold_out_errors_and_early_stop():
    A, b = data()
    lams, _ = levels(A, b, si.L1(), 40, 5e-4)
    rule = si.HoldOut(0.3, patience=4, seed=1)
    out = rule.rows(40)
    assert out.size == 12
    found = si.select_lam(A, b, si.L1(), rule, lams=lams)
    kept = np.setdiff1d(np.arange(40), out)
    X = [si.solve(A[kept], b[kept], si.L1(t), tol=1e-13).x for t in lams[: found.criterion.size]]
    expected = [np.mean((A[out] @ x - b[out]) ** 2) for x in X]
    np.testing.assert_allclose(found.criterion, expected, rtol=2e-2)
    assert found.criterion.size == np.argmin(found.criterion) + 5  # four levels without a gain
    assert found.lam == lams[np.argmin(found.criterion)]
    mask = np.isin(np.arange(40), out)
    assert si.select_lam(A, b, si.L1(), si.HoldOut(mask, patience=4), lams=lams).lam == found.lam


def test_target_misfit_is_the_first_level_that_fits():
    A, b = data()
    lams, X = levels(A, b, si.L1(), 20, 0.01)
    found = chosen(A, b, si.L1(), si.TargetMisfit(sigma=0.5), lams)
    misfits = np.array([np.mean((A @ x - b) ** 2) / 0.25 for x in X])
    assert found.lam == lams[np.argmax(misfits <= 1.0)]
    assert not found.at_edge
    missed = chosen(A, b, si.L1(), si.TargetMisfit(sigma=1e-3), lams)
    assert missed.at_edge
    assert missed.lam == lams[-1]
    assert "edge" in missed.rule


# --- rules of theory -----------------------------------------------------------------------------------


def test_pivotal_level():
    A, b = data()
    lams, X = levels(A, b, si.L1(), 60, 0.02)
    found = chosen(A, b, si.L1(), si.Pivotal(), lams)
    rng = generator(422)
    E = rng.standard_normal((40, 4000))
    q = 0.5 * np.median(np.abs(A.T @ (E / np.linalg.norm(E, axis=0))).max(axis=0))
    met = np.flatnonzero(lams <= q * np.array([np.linalg.norm(A @ x - b) for x in X]))
    # 100 draws tell the median to a few percent, which is a level or two
    assert abs(int(np.flatnonzero(lams == found.lam)[0]) - int(met[0])) <= 2
    assert found.lam == pytest.approx(si.solve(A, b, si.L1()).lam, rel=0.1)


@pytest.mark.parametrize("number", ["real", "complex"])
def test_noise_alone_stays_below_the_quantile_level(number):
    A, _ = data(number=number)
    rng = generator(423)
    rule = si.QuantileUniversal(alpha=0.2, sigma=0.5, draws=500)
    E = rng.standard_normal((40, 400))
    if number == "complex":
        E = (E + 1j * rng.standard_normal((40, 400))) / math.sqrt(2)
    lam = si.select_lam(A, 0.5 * E[:, 0], si.L1(), rule, n_lams=2).lam
    share = np.mean(0.5 * np.abs(A.conj().T @ E).max(axis=0) > lam)
    assert 0.12 < share < 0.28  # 0.2, known to 0.02 from 400 draws on either side


def test_quantile_level_respects_weights_groups_and_free_columns():
    A, b = data()
    E = generator(424).standard_normal((40, 3000))
    w = np.r_[0.0, np.inf, np.full(23, 2.0)]
    free = A[:, :1] / np.linalg.norm(A[:, 0])
    reach = np.abs(A[:, 2:].T @ (E - free @ (free.T @ E))).max(axis=0) / 2.0
    rule = si.QuantileUniversal(alpha=0.1, sigma=1.0, draws=1000)
    assert si.select_lam(A, b, si.L1(weights=w), rule, n_lams=2).lam == pytest.approx(
        np.quantile(reach, 0.9), rel=0.05
    )
    squares = np.add.reduceat((A.T @ E) ** 2, np.arange(0, 25, 5), axis=0)
    assert si.select_lam(A, b, si.GroupL1(groups=GROUPS), rule, n_lams=2).lam == pytest.approx(
        np.quantile(np.sqrt(squares.max(axis=0)), 0.9), rel=0.05
    )


def test_universal_levels():
    A, b = data()
    norm = np.linalg.norm(A, axis=0).max()
    rule = si.Universal(sigma=0.5)
    real = si.select_lam(A, b, si.L1(), rule, n_lams=2)
    assert real.lam == pytest.approx(0.5 * norm * math.sqrt(2 * math.log(25)))
    assert real.result.lam == real.lam
    assert (real.path.lams == real.lam).any()
    assert si.select_lam(A, b, si.L0(), rule, n_lams=2).lam == pytest.approx(0.25 * math.log(25))
    mixed = si.select_lam(A, b, si.ElasticNet(l1_ratio=0.5), rule, n_lams=2)
    assert mixed.lam == pytest.approx(2 * real.lam)
    complex_lam = si.select_lam(A + 0j, b + 0j, si.L1(), rule, n_lams=2).lam
    assert complex_lam == pytest.approx(real.lam / math.sqrt(2))


@pytest.mark.parametrize("k", [1, 3, 7])
def test_target_sparsity_finds_the_count(k):
    A, b = data()
    found = si.solve(A, b, si.L1(), select=si.TargetSparsity(k))
    assert np.count_nonzero(found.x) == k
    fewer = si.solve(A, b, si.GroupL1(groups=GROUPS), select=si.TargetSparsity(2))
    assert len(set(GROUPS[np.flatnonzero(fewer.x)])) == 2


def test_target_sparsity_leaves_free_columns_out_of_the_count():
    A, b = data()
    found = si.solve(A, b, si.L1(weights=np.r_[0.0, 0.0, np.ones(23)]), select=si.TargetSparsity(2))
    assert np.count_nonzero(found.x[2:]) == 2


def test_stability_controls_false_selections():
    rng = generator(425)
    false = 0
    for _ in range(6):
        A, b = rng.standard_normal((40, 30)), rng.standard_normal(40)
        found = si.select_lam(A, b, si.L1(), si.Stability(1.0, pairs=8), n_lams=30)
        false += int((found.probabilities >= 0.75).sum())
    assert false <= 6
    A, b = data(noise=0.1)
    found = si.select_lam(A, b, si.L1(), si.Stability(pairs=8), n_lams=30)
    stable = np.flatnonzero(found.probabilities >= 0.75)
    assert set(stable) <= set(found.result.support)
    assert stable.size >= 2


def test_corner_of_a_made_up_curve():
    # down the steep part, then flat: 12 points each, corner where they meet
    steep = np.c_[np.linspace(0.0, 0.1, 12), np.linspace(3.0, 0.2, 12)]
    flat = np.c_[np.linspace(0.2, 3.0, 12), np.linspace(0.15, 0.0, 12)]
    curve = np.vstack([steep, flat])[::-1]  # from large to small lambda
    found, clear = corner(curve[:, 0], curve[:, 1])
    assert clear
    assert abs(found - 12) <= 1
    # mirrored, the curve bulges away from the origin: no corner, and the rule says so
    bulge = np.c_[np.sin(np.linspace(1.5, 0.0, 20)), np.cos(np.linspace(1.5, 0.0, 20))]
    assert not corner(bulge[:, 0], bulge[:, 1])[1]


def test_l_curve_on_an_ill_posed_problem():
    t = np.arange(80)
    A = np.exp(-0.5 * ((t[:, None] - t[None, :]) / 4.0) ** 2)
    truth = ((t > 20) & (t < 40)).astype(float)
    b = A @ truth + 0.05 * generator(426).standard_normal(80)
    found = si.select_lam(A, b, si.L2(), si.LCurve())
    errors = np.linalg.norm(found.path.X - truth[:, None], axis=0)
    assert found.rule == "corner of the L-curve"
    assert np.linalg.norm(found.result.x - truth) < 2.0 * errors.min()


# --- every rule through every door -----------------------------------------------------------------------


@pytest.mark.parametrize("number", ["real", "complex"])
@pytest.mark.parametrize("kind", PENALTIES)
def test_rules_through_solve_and_select_lam(kind, number):
    A, b = data(number=number)
    penalty = PENALTIES[kind]
    for name, rule in (PATH_RULES | LEVEL_RULES).items():
        if kind == "L2" and name in LEVEL_RULES:
            with pytest.raises(TypeError, match=r"L2|level"):
                si.solve(A, b, penalty, select=rule)
            continue
        if name == "Stability" and (number == "complex" or kind == "elastic net"):
            continue
        result = si.solve(A, b, penalty, select=rule)
        assert result.success, name
        assert result.selection.path is None
        assert np.isfinite(result.selection.lam)
        selection = si.select_lam(A, b, penalty, rule, n_lams=15)
        assert selection.result.success, name
        assert selection.path.success, name
        assert selection.result.lam == selection.lam
        if name not in ("Universal", "QuantileUniversal", "TargetSparsity"):
            assert (selection.path.lams == selection.lam).any()


def test_l0_through_rules():
    A, b = data(noise=0.2)
    for rule in (si.SURE(sigma=0.2), si.InformationCriterion("ebic"), si.TargetSparsity(4), si.HoldOut(),
                 si.Universal(), si.QuantileUniversal(draws=50), si.GCV(), si.LeaveOneOut()):  # fmt: skip
        result = si.solve(A, b, si.L0(), select=rule)
        assert result.success
        assert np.count_nonzero(result.x) >= 1


@pytest.mark.parametrize("number", ["real", "complex"])
def test_layouts_choose_the_same(number):
    A, b = data(number=number)
    w = np.r_[0.0, np.inf, np.linspace(0.5, 2.0, 23)]
    rules = [si.SURE(sigma=0.5), si.GCV(), si.LeaveOneOut(), si.InformationCriterion(), si.Pivotal(),
             si.TargetMisfit(sigma=0.5), si.Whiteness(), si.QuantileUniversal(sigma=0.5)]  # fmt: skip
    tables = [
        si.compare_selectors(wrap(A), b, si.L1(weights=w), rules, n_lams=20, tol=1e-9)
        for wrap in (np.asarray, sparse.csc_array, Products)
    ]
    for other in tables[1:]:
        np.testing.assert_allclose(other.lams[[0, 1, 2, 3, 5, 6, 7]], tables[0].lams[[0, 1, 2, 3, 5, 6, 7]])
        np.testing.assert_allclose(other.df[:4], tables[0].df[:4], rtol=1e-3)


def test_large_matrix_free_problems_are_probed(monkeypatch):
    from sparseinv.selection import freedom

    A, b = data(m=60, n=80)
    exact = si.select_lam(A, b, si.L1(), si.SURE(sigma=0.5), n_lams=20)
    monkeypatch.setattr(freedom, "_MOST_COLUMNS", 0)
    probed = si.select_lam(Products(A), b, si.L1(), si.SURE(sigma=0.5), n_lams=20)
    count = min(exact.criterion.size, probed.criterion.size)
    assert count >= 10
    # eight probes of the degrees of freedom, each with a variance of about twice their number
    allowed = 0.5 * 4.0 * np.sqrt(2.0 * 60 / 8)
    assert np.abs(probed.criterion[:count] - exact.criterion[:count]).max() < allowed
    with pytest.raises(TypeError, match="leverages of"):
        si.solve(Products(A), b, si.L1(), select=si.LeaveOneOut())


def test_refit_by_products(monkeypatch):
    from sparseinv.selection import freedom

    A, b = data()
    plain = si.select_lam(A, b, si.L1(), si.InformationCriterion("bic"), n_lams=20)
    monkeypatch.setattr(freedom, "_MOST_COLUMNS", 0)
    matrix_free = si.select_lam(Products(A), b, si.L1(), si.InformationCriterion("bic"), n_lams=20)
    assert matrix_free.lam == pytest.approx(plain.lam)


# --- one path for all --------------------------------------------------------------------------------------


def test_compare_selectors_shares_one_path():
    A, b = data()
    rules = [si.SURE(sigma=0.5), si.GCV(), si.InformationCriterion(), si.CrossValidation(4), si.Universal()]
    table = si.compare_selectors(A, b, si.L1(), rules, n_lams=20)
    assert len(table) == len(rules) == len(table.selectors)
    for rule, selection, df in zip(rules, table.selections, table.df, strict=True):
        alone = si.select_lam(A, b, si.L1(), rule, n_lams=20)
        assert selection.lam == pytest.approx(alone.lam, rel=0.02)  # Universal: sigma from another fit
        penalty = si.L1(selection.lam)
        assert df == si.degrees_of_freedom(A, b, penalty, selection.result.x)
    lines = repr(table).splitlines()
    assert len(lines) == 2 + len(rules)
    assert "CrossValidation(4)" in lines[5]
    assert "lam_max" in lines[1]


def test_early_rules_leave_the_path():
    A, b = data()
    table = si.compare_selectors(A, b, si.L1(), [si.Pivotal(), si.TargetSparsity(2)], n_lams=100)
    assert len(table.path) < 80
    assert table.path.lams[-1] <= table[0].lam


def test_edges_are_flagged_and_automatic_levels_go_on():
    rng = generator(427)
    A = rng.standard_normal((40, 20))
    b = A @ rng.standard_normal(20) + 1e-4 * rng.standard_normal(40)
    short = si.select_lam(A, b, si.L1(), si.GCV(), n_lams=10, ratio=0.3)
    assert short.at_edge
    assert "edge" in short.rule
    whole = si.solve(A, b, si.L1(), select=si.GCV())
    assert whole.selection.lam < 1e-2 * si.lam_max(A, b, si.L1()) / 1.5
    assert whole.selection.lams.size > 100


def test_time_limit_is_kept_and_said():
    A, b = data()
    selection = si.select_lam(A, b, si.L1(), si.SURE(sigma=0.5), max_time=0.0)
    assert "time for" in selection.rule
    assert len(selection.path) == 100


def test_nonnegative_and_tied_levels():
    A, b = data()
    for rule in (si.GCV(), si.SURE(sigma=0.5), si.LeaveOneOut(), si.HoldOut()):
        for penalty in (si.L2(nonnegative=True), si.L1(nonnegative=True), si.ElasticNet(nonnegative=True)):
            result = si.solve(A, b, penalty, select=rule)
            assert result.success
            assert result.x.min() >= 0.0
        tied = si.solve(A, b, si.L1(groups=np.arange(25) // 13, weights=[1.0, 2.0]), select=rule)
        assert tied.success


@pytest.mark.parametrize("weights", [np.inf, 0.0])
def test_levels_that_change_nothing(weights):
    A, b = data()
    for rule in (*PATH_RULES.values(), *LEVEL_RULES.values()):
        if isinstance(rule, si.Stability):
            continue
        result = si.solve(A, b, si.L1(weights=np.full(25, weights)), select=rule)
        assert result.success
        assert bool(result.x.any()) is (weights == 0.0)
        assert np.isfinite(result.selection.lam)
        assert not si.solve(A[:, :0], b, si.L1(), select=rule).x.size


def test_zero_data_and_noiseless_data():
    A, _ = data()
    for rule in (*PATH_RULES.values(), *LEVEL_RULES.values()):
        assert not si.solve(A, np.zeros(40), si.L1(), select=rule).x.any()
    exact = A[:, 3] * 2.0
    for rule in (si.SURE(), si.GCV(), si.LeaveOneOut(), si.InformationCriterion(), si.Pivotal()):
        result = si.solve(A, exact, si.L1(), select=rule)
        assert np.isfinite(result.selection.lam)
        assert 3 in result.support


# --- invariances -------------------------------------------------------------------------------------------

INVARIANT = {
    "SURE": si.SURE(),
    "GCV": si.GCV(),
    "LeaveOneOut": si.LeaveOneOut(),
    "BIC": si.InformationCriterion(),
    "TargetMisfit": si.TargetMisfit(),
    "Whiteness": si.Whiteness(),
    "LCurve": si.LCurve(),
    "HoldOut": si.HoldOut(),
    "Pivotal": si.Pivotal(),
    "QuantileUniversal": si.QuantileUniversal(draws=50),
    "Universal": si.Universal(),
    "TargetSparsity": si.TargetSparsity(3),
}


@pytest.mark.parametrize("factor", [8.0, 1e-40, 3e90])
@pytest.mark.parametrize("name", INVARIANT)
def test_units_of_b(name, factor):
    A, b = data()
    plain = si.solve(A, b, si.L1(), select=INVARIANT[name])
    scaled = si.solve(A, factor * b, si.L1(), select=INVARIANT[name])
    assert scaled.selection.lam == pytest.approx(factor * plain.selection.lam, rel=1e-6)


@pytest.mark.parametrize("name", ["SURE", "GCV", "LeaveOneOut", "BIC", "Pivotal", "Whiteness", "HoldOut"])
def test_columns_times_weights(name):
    A, b = data()
    d = generator(428).uniform(0.1, 10.0, 25)
    plain = si.solve(A, b, si.L1(), select=INVARIANT[name])
    scaled = si.solve(A * d, b, si.L1(weights=d), select=INVARIANT[name])
    assert scaled.selection.lam == pytest.approx(plain.selection.lam, rel=1e-6)
    np.testing.assert_allclose(scaled.x * d, plain.x, atol=1e-4)


@pytest.mark.parametrize("name", ["SURE", "GCV", "LeaveOneOut", "BIC", "TargetMisfit"])
def test_order_of_rows_and_columns(name):
    A, b = data()
    rows, columns = generator(429).permutation(40), generator(430).permutation(25)
    plain = si.solve(A, b, si.L1(), select=INVARIANT[name])
    mixed = si.solve(A[rows][:, columns], b[rows], si.L1(), select=INVARIANT[name])
    assert mixed.selection.lam == pytest.approx(plain.selection.lam, rel=0.06)  # null draws differ


def test_duplicated_rows_with_grouped_rows():
    A, b = data()
    labels = np.arange(40)
    rule = si.HoldOut(0.25, groups=labels, seed=5)
    plain = si.select_lam(A, b, si.L1(), rule)
    twice = si.HoldOut(0.25, groups=np.tile(labels, 2), seed=5)
    doubled = si.select_lam(np.vstack([A, A]), np.r_[b, b], si.L1(), twice)
    # the misfit counts twice, so the same solutions come at twice the levels
    assert doubled.lam == pytest.approx(2.0 * plain.lam, rel=1e-9)
    assert set(twice.rows(80)) == {i + s for i in rule.rows(40) for s in (0, 40)}


# --- the noise level ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["real", "complex"])
@pytest.mark.parametrize("method", ["residual", "refitted", "organic"])
def test_estimates_of_sigma(method, number):
    # the organic estimate is biased upwards, by little where the signal is weak
    noise = 4.0 if method == "organic" else 0.7
    found = [si.estimate_sigma(*data(k, 200, 100, number, noise), method=method) / noise for k in range(4)]
    assert 0.85 < np.median(found) < (1.4 if method == "organic" else 1.15)


@pytest.mark.parametrize("number", ["real", "complex"])
def test_sigma_from_differences(number):
    rng = generator(431)
    t = np.linspace(0, 1, 4000)
    noise = rng.standard_normal(4000)
    if number == "complex":
        noise = (noise + 1j * rng.standard_normal(4000)) / math.sqrt(2)
    b = 5 * np.sin(9 * t) + 0.3 * noise
    assert si.estimate_sigma(np.ones((4000, 1)), b, method="differences") == pytest.approx(0.3, rel=0.06)


def test_organic_value_is_the_minimum():
    import cvxpy as cp

    A, b = data(m=30, n=12)
    W = np.linalg.norm(A, axis=0) / math.sqrt(30)
    x = cp.Variable(12)
    size = cp.norm1(cp.multiply(W, x))
    problem = cp.Problem(
        cp.Minimize(cp.sum_squares(A @ x - b) / 30 + 2 * math.log(12) / 30 * cp.square(size))
    )
    problem.solve(solver=cp.CLARABEL)
    assert si.estimate_sigma(A, b, method="organic") ** 2 == pytest.approx(problem.value, rel=1e-3)


# --- refusals -----------------------------------------------------------------------------------------------

BAD = {
    "sigma is -1": lambda: si.SURE(sigma=-1.0),
    "probes is -1": lambda: si.SURE(probes=-1),
    "gamma is 2": lambda: si.GCV(gamma=2.0),
    "kind is 'cp'": lambda: si.InformationCriterion("cp"),
    "gamma is 3": lambda: si.InformationCriterion("ebic", gamma=3.0),
    "alpha is 0": lambda: si.QuantileUniversal(0.0),
    "alpha is 1": lambda: si.Pivotal(alpha=1.0),
    "k is -1": lambda: si.TargetSparsity(-1),
    "chi2 is 0": lambda: si.TargetMisfit(0.0),
    "held is 1": lambda: si.HoldOut(1.0),
    "patience is 0": lambda: si.HoldOut(patience=0),
    "held names the rows": lambda: si.HoldOut(np.ones(4, dtype=bool), groups=np.arange(4)),
    "pfer is 0": lambda: si.Stability(0.0),
    "threshold is 0.5": lambda: si.Stability(threshold=0.5),
    "axis is 'x'": lambda: si.Whiteness(axis="x"),
    "shape is 3": lambda: si.Whiteness(shape=3),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_parameters(message):
    with pytest.raises((ValueError, TypeError), match=message):
        BAD[message]()


@pytest.mark.parametrize(
    ("penalty", "rule", "message"),
    [
        (si.L2(), si.Universal(), "no level of L2"),
        (si.L2(), si.Pivotal(), "no level of L2"),
        (si.L2(), si.TargetSparsity(3), "no zeros"),
        (si.L2(), si.Stability(), "no zeros"),
        (si.L0(), si.Pivotal(), "QuantileUniversal"),
        (si.L0(), si.LCurve(), "staircase"),
    ],
)
def test_rules_without_meaning_are_refused_before_any_product(penalty, rule, message):
    A, b = data()
    operator = Products(A)
    for call in (
        lambda: si.solve(operator, b, penalty, select=rule),
        lambda: si.select_lam(operator, b, penalty, rule, lams=[1.0]),
        lambda: si.compare_selectors(operator, b, penalty, [rule], lams=[1.0]),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            call()


def test_bad_calls():
    A, b = data()
    with pytest.raises(ValueError, match="shape is"):
        si.solve(A, b, si.L1(), select=si.Whiteness(shape=(3, 3)))
    with pytest.raises(ValueError, match="axis is 1"):
        si.solve(A, b, si.L1(), select=si.Whiteness(axis=1))
    with pytest.raises(ValueError, match="held has shape"):
        si.solve(A, b, si.L1(), select=si.HoldOut(np.ones(3, dtype=bool)))
    with pytest.raises(ValueError, match="selectors is empty"):
        si.compare_selectors(A, b, si.L1(), [])
    with pytest.raises(TypeError, match="a list of selectors"):
        si.compare_selectors(A, b, si.L1(), si.GCV())
    with pytest.raises(TypeError, match=r"selectors\[1\]"):
        si.compare_selectors(A, b, si.L1(), [si.GCV(), "bic"])
    with pytest.raises(ValueError, match="method is 'mad'"):
        si.estimate_sigma(A, b, method="mad")


def test_representations_name_what_differs():
    assert repr(si.SURE()) == "SURE()"
    assert repr(si.SURE(sigma=0.5, probes=2)) == "SURE(sigma=0.5, probes=2)"
    assert repr(si.InformationCriterion("ebic", refit=False)) == "InformationCriterion('ebic', refit=False)"
    assert repr(si.TargetSparsity(3)) == "TargetSparsity(3)"
    assert repr(si.HoldOut(0.25)) == "HoldOut(0.25)"
    assert repr(si.Stability(pairs=3)) == "Stability(1, pairs=3)"


# --- where nothing depends on the level, and where the levels end ----------------------------------------


def test_a_comparison_is_printed_where_no_level_makes_a_difference():
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((20, 8)), rng.standard_normal(20)
    rules = [si.SURE(), si.GCV(), si.CrossValidation(4)]
    for data, weights in ((np.zeros(20), None), (b, np.zeros(8)), (b, np.full(8, np.inf))):
        found = si.compare_selectors(A, data, si.L1(weights=weights), rules, n_lams=5)
        assert found.lam_max == 0.0
        assert "SURE()" in repr(found)


@pytest.mark.parametrize("kind", [si.L1, si.L2, si.L0, si.ElasticNet, si.MCP])
def test_data_in_the_span_of_the_free_columns_leave_nothing_to_choose_by(kind):
    A = np.random.default_rng(0).standard_normal((10, 30))
    result = si.solve(A, A[:, :2] @ [3.0, 1.0], kind(weights=np.r_[0.0, 0.0, np.ones(28)]))
    assert result.lam > 0.0
    np.testing.assert_allclose(result.x, np.r_[3.0, 1.0, np.zeros(28)], atol=1e-12)


def test_a_level_of_zero_can_be_judged_by_its_refit():
    rng = np.random.default_rng(1)
    A, b = rng.standard_normal((20, 8)), rng.standard_normal(20)
    choice = si.select_lam(A, b, si.L1(), si.InformationCriterion("aic"), lams=[5.0, 1.0, 0.0])
    least = np.linalg.lstsq(A, b, rcond=None)[1][0]
    assert choice.criterion[2] == pytest.approx(20 * np.log(least / 20) + 16, rel=1e-9)


@pytest.mark.parametrize("rule", [si.TargetMisfit(sigma=1.0), si.Pivotal(), si.Stability(pairs=2)], ids=repr)
def test_a_rule_met_by_the_first_of_your_levels_is_at_the_edge(rule):
    rng = np.random.default_rng(1)
    A, b = rng.standard_normal((20, 8)), rng.standard_normal(20)
    choice = si.select_lam(A, b, si.L1(), rule, lams=[0.5, 0.1])
    assert choice.lam == 0.5
    assert choice.at_edge
    assert "edge" in choice.rule


def test_the_default_of_ridge_says_where_the_levels_end():
    A = np.random.default_rng(0).standard_normal((20, 5))
    exact = si.solve(A, A @ np.ones(5), si.L2()).selection
    assert exact.at_edge
    assert "edge" in exact.rule
    noisy = si.solve(A, A[:, 0] + np.random.default_rng(1).standard_normal(20), si.L2()).selection
    assert not noisy.at_edge


def test_the_largest_of_levels_with_one_solution_is_chosen_whatever_the_unit():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 10))
    b = A[:, :3] @ [2.0, -1.5, 1.0] + rng.standard_normal(40)
    one = si.select_lam(A, b, si.L0(), si.GCV(), n_lams=25)
    for a, s in ((1e-9, 1.0), (1.0, 1e9), (1e9, 1e-9)):
        assert si.select_lam(a * A, s * b, si.L0(), si.GCV(), n_lams=25).lam == pytest.approx(s**2 * one.lam)
