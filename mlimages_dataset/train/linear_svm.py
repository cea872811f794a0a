"""A linear support vector machine of one class against the rest, for all classes at once; on a CPU or a GPU.

Of each class, with y = 1 at its rows and -1 elsewhere, it minimises the primal objective of liblinear's L2-regularised
L2-loss classifier (https://www.csie.ntu.edu.tw/~cjlin/papers/liblinear.pdf, equation 1 with the squared hinge):

    P(w) = |w|² / 2 + cost · Σ max(0, 1 - y f)²,    f = w · (x, intercept_scaling)

So the bias is a weight of a constant feature and is regularised, as in scikit-learn's `LinearSVC`.

The method is Newton's. The Hessian is I + 2 cost XₐᵀXₐ over the active rows (those with y f < 1), which differ from
class to class. The first step, with all rows active, is one Cholesky factorisation for all classes. Later a class with
few active rows solves its system in the space of these rows, exactly (Woodbury's identity) or by conjugate gradients;
the other classes solve theirs by conjugate gradients together, with matrix products that serve all of them. Each step
is followed by a search along the line, which needs no further product.

The end is proven: a = 2 cost max(0, 1 - y f), scaled by the best factor, is a point of the dual problem, and its value
bounds the least objective from below. `relative_gap` is the distance to that bound.

Legend: N rows, D features with the constant one, K classes, A active rows of a class.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCK_ELEMENTS = 1 << 24
"""Of a matrix of rows by classes: more classes are solved in several blocks."""
_MOST_STEPS = 50
_MOST_PRODUCTS = 40
_SHARE_ALONE = 8
"""A class with at most N / 8 active rows multiplies by these alone as fast as by all rows together with others."""
_ROWS_EXACT, _EXACT_BELOW = 128, 16.0
"""Few rows are solved exactly: that takes as long as some ten conjugate gradients of a class alone (A of at most 128),
or of all together (A² of at most 16 N)."""
_ROUNDING = 1e-7
_MOST_IN_FLOAT32 = 1e4
_RESIDUAL, _SLOPE, _LINE_STEPS = 0.1, 0.001, 8


class Problem:
    """The rows to learn from.

    Attributes:
        rows: with the constant feature last, float32, shape (N, D); float64 where `for_cost` says so.
        labels: the class of each row, int64, shape (N,).
        n_classes: K.
        intercept_scaling: the constant feature.
    """

    def __init__(self, features: Tensor, labels: Tensor, n_classes: int, *, intercept_scaling: float = 1.0) -> None:
        """Append the constant feature.

        Args:
            features: float32 or float64, shape (N, D - 1).
            labels: of 0..K-1, int64, shape (N,).
            n_classes: K.
            intercept_scaling: the constant feature; a larger one regularises the bias less.

        Raises:
            ValueError: there is no row, or a feature is not finite.
        """
        if not len(features) or not bool(torch.isfinite(features).all()):
            raise ValueError("no rows, or features that are not finite")
        constant = features.new_full((len(features), 1), intercept_scaling)
        self.rows = torch.cat([features, constant], dim=1)
        self.labels = labels
        self.n_classes = n_classes
        self.intercept_scaling = intercept_scaling

    @functools.cached_property
    def gram(self) -> Tensor:
        """The sums of products of two features over all rows, shape (D, D)."""
        return self.rows.T @ self.rows

    @functools.cached_property
    def double(self) -> Problem:
        """The same rows in float64."""
        return Problem(
            self.rows[:, :-1].double(), self.labels, self.n_classes, intercept_scaling=self.intercept_scaling
        )

    def for_cost(self, cost: float) -> Problem:
        """Return the problem in the precision that a cost needs.

        Of a single row the Hessian's largest eigenvalue is 1 + 2 cost |x|², and the least is 1: where their ratio comes
        near to the digits of float32, neither gradient nor margins would have enough of them.
        """
        largest = float(self.rows.square().sum(1).max())
        return self.double if 2 * cost * largest > _MOST_IN_FLOAT32 else self

    @property
    def is_benign(self) -> bool:
        """Whether conjugate gradients need no preconditioner, because float32 has enough digits."""
        return self.rows.dtype == torch.float32

    def signs(self, classes: Tensor) -> Tensor:
        """Return 1 where a row is of a class and -1 elsewhere, shape (N, K') for K' classes."""
        return (self.labels[:, None] == classes).to(self.rows.dtype).mul_(2).sub_(1)


@dataclass(frozen=True, slots=True, eq=False)
class LinearSvm:
    """A classifier: the class of a row is the one with the highest score.

    Attributes:
        weights: of features and constant, in the precision of the computation, shape (D, K).
        intercept_scaling: the constant feature.
        objectives: of each class, float64, shape (K,).
        relative_gaps: how much of each objective is at most above the least possible one, float64, shape (K,).
        steps: Newton steps of the class that took most.
    """

    weights: Tensor
    intercept_scaling: float
    objectives: Tensor
    relative_gaps: Tensor
    steps: int

    def scores(self, features: Tensor) -> Tensor:
        """Return the scores of rows, shape (N, K), of features of shape (N, D - 1)."""
        bias = self.weights[-1] * self.intercept_scaling
        return torch.addmm(bias, features.to(bias.dtype), self.weights[:-1])

    def classes(self, features: Tensor) -> Tensor:
        """Return the class of each row, int64, shape (N,)."""
        return self.scores(features).argmax(dim=1)


def fit(problem: Problem, cost: float, *, tolerance: float = 1e-4, start: LinearSvm | None = None) -> LinearSvm:
    """Return the classifier with the least objective.

    Args:
        problem: the rows.
        cost: liblinear's C: the weight of the squared hinge.
        tolerance: the relative gap at which a class is finished; see `LinearSvm.relative_gaps`.
        start: where to begin, such as the classifier of a similar cost.
    """
    problem = problem.for_cost(cost)
    at_once = max(1, _BLOCK_ELEMENTS // len(problem.rows))
    solved = [
        _Block(problem, classes, cost).solved(tolerance, None if start is None else start.weights[:, classes])
        for classes in torch.arange(problem.n_classes, device=problem.rows.device).split(at_once)
    ]
    return LinearSvm(
        torch.cat([block.weights for block in solved], dim=1),
        problem.intercept_scaling,
        torch.cat([block.objectives for block in solved]),
        torch.cat([block.gaps for block in solved]),
        max(block.steps for block in solved),
    )


class _Solved(NamedTuple):
    """Weights, objectives and relative gaps of a block's classes, and the steps that were taken."""

    weights: Tensor
    objectives: Tensor
    gaps: Tensor
    steps: int


class _Block:
    """Some classes that are solved together; finished ones leave it.

    Attributes:
        open: the places of the unfinished classes among those of the block, shape (K,).
        weights: shape (D, K).
        signs: of the rows, shape (N, K).
        margins: scores of the rows, shape (N, K).
    """

    def __init__(self, problem: Problem, classes: Tensor, cost: float) -> None:
        self.problem, self.cost = problem, cost
        self.open = torch.arange(len(classes), device=classes.device)
        self.signs = problem.signs(classes)
        self.margins = torch.zeros_like(self.signs)
        self.weights = problem.rows.new_zeros(problem.rows.shape[1], len(classes))

    def solved(self, tolerance: float, start: Tensor | None) -> _Solved:
        """Return the classifiers of the classes, each with a relative gap of at most `tolerance` if that is reached."""
        weights = torch.zeros_like(self.weights)
        objectives, gaps = (torch.full_like(self.open, torch.inf, dtype=torch.float64) for _ in range(2))
        self._begin(start)
        for step in range(1, _MOST_STEPS + 1):
            slack = (1 - self.signs * self.margins).clamp_min_(0)
            pulled = self.problem.rows.T @ (self.signs * slack).mul_(2 * self.cost)
            objective, gap = self._bounds(slack, pulled)
            weights[:, self.open], objectives[self.open], gaps[self.open] = self.weights, objective, gap
            unfinished = gap > tolerance
            if step == _MOST_STEPS or not unfinished.any():
                break
            slack, gradient = slack[:, unfinished], (self.weights - pulled)[:, unfinished]
            self._keep(unfinished)
            self._move(*self._direction(slack > 0, gradient))
        return _Solved(weights, objectives, gaps, step)

    def _begin(self, start: Tensor | None) -> None:
        """Go to the start, or to the least squares of all rows, which is Newton's first step from zero."""
        if start is not None:
            self.weights = start.to(self.weights.dtype)
            self.margins = self.problem.rows @ self.weights
            return
        gradient = -2 * self.cost * (self.problem.rows.T @ self.signs)
        step = torch.cholesky_solve(-gradient, self._preconditioner(1.0))
        self._move(step, self.problem.rows @ step)

    def _bounds(self, slack: Tensor, pulled: Tensor) -> tuple[Tensor, Tensor]:
        """Return objective and relative gap of each class.

        Args:
            slack: max(0, 1 - y f), shape (N, K).
            pulled: Xᵀ(a y), which the weights are at the optimum, shape (D, K).
        """
        squares = self.cost * slack.square().sum(0, dtype=torch.float64)
        objective = self.weights.square().sum(0, dtype=torch.float64) / 2 + squares
        # The dual of a scaled by t is t linear - t² quadratic, the largest of which is linear² / (4 quadratic).
        linear = 2 * self.cost * slack.sum(0, dtype=torch.float64)
        quadratic = pulled.square().sum(0, dtype=torch.float64) / 2 + squares
        least = (linear.square() / (4 * quadratic)).nan_to_num(0.0)
        return objective, ((objective - least) / objective).nan_to_num(1.0)

    def _keep(self, those: Tensor) -> None:
        if not those.all():
            self.open, self.weights = self.open[those], self.weights[:, those]
            self.signs, self.margins = self.signs[:, those], self.margins[:, those]

    def _direction(self, active: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return Newton's step of each class, shape (D, K), and what it adds to the margins, shape (N, K).

        Args:
            active: the active rows, shape (N, K).
            gradient: shape (D, K).
        """
        rows = self.problem.rows
        alone = active.sum(0) <= self._most_alone
        step = torch.empty_like(gradient)
        for column in alone.nonzero()[:, 0].tolist():
            step[:, column] = self._of_class(rows[active[:, column]], gradient[:, column])
        if not alone.all():
            step[:, ~alone] = self._together(active[:, ~alone], gradient[:, ~alone])
        return step, rows @ step

    @property
    def _most_alone(self) -> float:
        """The most active rows of a class that is solved alone: what takes as long as together with others."""
        n_rows = len(self.problem.rows)
        return n_rows / _SHARE_ALONE if self.problem.is_benign else (_EXACT_BELOW * n_rows) ** 0.5

    def _of_class(self, active_rows: Tensor, gradient: Tensor) -> Tensor:
        """Return about -(I + 2 cost XₐᵀXₐ)⁻¹ gradient, shape (D,), exactly for few rows or where it is hard to solve.

        Args:
            active_rows: shape (A, D).
            gradient: shape (D,).
        """
        if len(active_rows) <= _ROWS_EXACT or not self.problem.is_benign:
            step, solved = self._exact(active_rows, gradient)
            if solved:
                return step
        transposed, weight = active_rows.T, 2 * self.cost
        return _conjugate_gradients(
            lambda search: search + weight * (transposed @ (active_rows @ search)), lambda rest: rest, gradient
        )

    def _exact(self, active_rows: Tensor, gradient: Tensor) -> tuple[Tensor, bool]:
        """Return -(I + 2 cost XₐᵀXₐ)⁻¹ gradient, shape (D,), and whether the system was well enough conditioned.

        Args:
            active_rows: shape (A, D).
            gradient: shape (D,).
        """
        system = (active_rows @ active_rows.T).double()
        system.diagonal().add_(1 / (2 * self.cost))
        factor, failed = torch.linalg.cholesky_ex(system)
        inner = torch.cholesky_solve((active_rows @ gradient).double()[:, None], factor)[:, 0]
        return active_rows.T @ inner.to(gradient.dtype) - gradient, not failed

    def _together(self, active: Tensor, gradient: Tensor) -> Tensor:
        """Return about -(I + 2 cost XₐᵀXₐ)⁻¹ gradient of several classes, shape (D, K).

        The preconditioner is the matrix of all rows, weighted by the mean share of active ones.
        """
        rows, factor = self.problem.rows, self._preconditioner(float(active.float().mean()))
        weight = active.to(rows.dtype).mul_(2 * self.cost)
        return _conjugate_gradients(
            lambda search: torch.addmm(search, rows.T, weight * (rows @ search)),
            lambda rest: torch.cholesky_solve(rest, factor),
            gradient,
        )

    def _preconditioner(self, share: float) -> Tensor:
        """Return the Cholesky factor of about I + 2 cost share XᵀX, shape (D, D).

        Where the sums of products are so large that float32 does not see the 1, more is added until there is a factor:
        it guides the way only.
        """
        matrix = self.problem.gram * (2 * self.cost * share)
        added, largest = 1.0, float(matrix.diagonal().max())
        matrix.diagonal().add_(added)
        while True:
            factor: Tensor
            factor, failed = torch.linalg.cholesky_ex(matrix)
            if not failed:
                return factor
            more = max(added, _ROUNDING * largest)
            matrix.diagonal().add_(more)
            added += more

    def _move(self, step: Tensor, added: Tensor) -> None:
        """Go along the step to the least objective of each class.

        Along the line the slope is a rising function with kinks; its zero is found by Newton's method within brackets.

        Args:
            step: shape (D, K).
            added: what the step adds to the margins, shape (N, K).
        """
        along, length = (self.weights * step).sum(0), step.square().sum(0)
        signed, short = self.signs * added, 1 - self.signs * self.margins
        low, high = torch.zeros_like(along), torch.full_like(along, torch.inf)
        at, first = torch.ones_like(along), None
        for _ in range(_LINE_STEPS):
            slack = torch.addcmul(short, signed, at, value=-1).clamp_min_(0)
            slope = along + at * length - 2 * self.cost * (slack * signed).sum(0)
            if first is None:
                first = (along - 2 * self.cost * (short.clamp_min(0) * signed).sum(0)).abs()
            if bool((slope.abs() <= _SLOPE * first).all()):
                break
            bend = length + 2 * self.cost * (signed.square() * (slack > 0)).sum(0)
            low, high = torch.where(slope < 0, at, low), torch.where(slope > 0, at, high)
            newton = at - slope / bend.clamp_min(torch.finfo(bend.dtype).tiny)
            at = torch.where((newton > low) & (newton < high), newton, (low + high.clamp_max(2 * low + 2)) / 2)
        self.weights = self.weights + at * step
        self.margins = self.margins + at * added


def _conjugate_gradients(
    multiplied: Callable[[Tensor], Tensor], preconditioned: Callable[[Tensor], Tensor], gradient: Tensor
) -> Tensor:
    """Return about -H⁻¹ gradient of each column, until its residual is a tenth, shape (D,) or (D, K).

    Args:
        multiplied: returns H times columns.
        preconditioned: returns about H⁻¹ times columns.
        gradient: shape (D,) or (D, K).
    """
    step, residual = torch.zeros_like(gradient), -gradient
    solved = preconditioned(residual)
    search, energy = solved.clone(), (residual * solved).sum(0)
    enough = _RESIDUAL**2 * energy
    for _ in range(_MOST_PRODUCTS):
        product = multiplied(search)
        length = torch.where(energy > enough, energy / (search * product).sum(0), 0.0)
        step += length * search
        residual -= length * product
        solved = preconditioned(residual)
        before, energy = energy, (residual * solved).sum(0)
        if bool((energy <= enough).all()):
            break
        search = solved + torch.where(before > 0, energy / before, 0.0) * search
    return step
