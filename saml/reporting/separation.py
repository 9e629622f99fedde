"""Statistics of how well vectors of utterances, such as routes or encoder outputs, separate speakers."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import permutation_test
from sklearn.linear_model import LinearRegression, RidgeClassifier
from sklearn.metrics import r2_score, silhouette_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

# Of the cross-validation; fewer if a speaker has fewer utterances.
FOLDS = 5
PERMUTATIONS = 999


def silhouette(values: NDArray[np.float64], speakers: NDArray[np.str_]) -> float:
    """The mean silhouette of speakers in `values` `(utterances, dimensions)`; NaN where it is undefined."""
    if not 2 <= len(set(speakers)) < len(values) or np.isnan(values).any():
        return float("nan")
    return float(silhouette_score(values, speakers))


def speaker_separation(
    routes: NDArray[np.float64], speakers: NDArray[np.str_], seed: int
) -> tuple[float, float, float, float]:
    """`explained`, `p`, `accuracy` and `chance` of utterances' routes `(utterances, weights)`.

    All but `chance` are NaN with a single speaker, or with a speaker of a single utterance.
    """
    names, labels, counts = np.unique(speakers, return_inverse=True, return_counts=True)
    chance = float(counts.max() / counts.sum())
    folds = min(FOLDS, int(counts.min()))
    if len(names) < 2 or folds < 2:
        return np.nan, np.nan, np.nan, chance
    parts = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(routes, labels))
    # Scaled, because the penalty on the weights would otherwise suppress small differences between routes.
    classifier = make_pipeline(StandardScaler(), RidgeClassifier())
    accuracy = float(cross_val_score(classifier, routes, labels, cv=parts).mean())
    if (routes == routes[0]).all():
        return np.nan, np.nan, accuracy, chance
    # With one-hot speakers this predicts each speaker's mean route.
    means = LinearRegression(fit_intercept=False)
    predicted = cross_val_predict(means, np.eye(len(names))[labels], routes, cv=parts)
    explained = float(r2_score(routes, predicted, multioutput="variance_weighted"))
    return explained, _permutation_p(routes, labels, seed), accuracy, chance


def _permutation_p(routes: NDArray[np.float64], labels: NDArray[np.intp], seed: int) -> float:
    """How often shuffled labels have as much variance between speakers as the real ones."""
    centred, counts = routes - routes.mean(axis=0), np.bincount(labels)

    def between(shuffled: NDArray[np.intp], axis: int) -> NDArray[np.float64]:
        """The share of variance between speakers, for labels `(..., utterances)`."""
        assert axis == -1
        one_hot = (shuffled[..., None] == np.arange(len(counts))).astype(np.float64)
        sums = np.einsum("...us,uw->...sw", one_hot, centred)  # utterances, speakers, weights
        share: NDArray[np.float64] = (sums**2 / counts[:, None]).sum(axis=(-2, -1)) / (centred**2).sum()
        return share

    found = permutation_test(
        (labels,),
        between,
        permutation_type="pairings",
        alternative="greater",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=10,
        axis=-1,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)
