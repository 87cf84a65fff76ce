"""The assignment problem: one-to-one pairs of least total cost."""

from __future__ import annotations

from collections.abc import Sequence


def assign(costs: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """(row, column) pairs of least total cost, min(rows, columns) many, by row. Exact, O(rows² · columns).

    The Hungarian method by shortest augmenting paths: Jonker and Volgenant, "A shortest augmenting path
    algorithm for dense and sparse linear assignment problems", Computing 38 (1987).
    """
    if not costs or not costs[0]:
        return []
    if len(costs) > len(costs[0]):
        transposed = [list(column) for column in zip(*costs, strict=True)]
        return sorted((row, column) for column, row in assign(transposed))
    columns = len(costs[0])
    row_of = [-1] * columns  # row assigned to each column, -1 for none
    row_price, column_price = [0] * len(costs), [0] * columns
    for row in range(len(costs)):
        _augment(row, costs, row_of, row_price, column_price)
    return sorted((row, column) for column, row in enumerate(row_of) if row >= 0)


def _augment(
    row: int,
    costs: Sequence[Sequence[int]],
    row_of: list[int],
    row_price: list[int],
    column_price: list[int],
) -> None:
    """Assign `row` too, along the cheapest path of reassignments (Dijkstra over the reduced costs)."""
    columns = range(len(row_of))
    distance: list[int | None] = [None] * len(row_of)
    before = [-1] * len(row_of)  # column the path comes from, -1 for `row` itself
    done: set[int] = set()
    at_row, at_column, travelled = row, -1, 0
    while True:
        for column in columns:
            if column in done:
                continue
            through = travelled + costs[at_row][column] - row_price[at_row] - column_price[column]
            known = distance[column]
            if known is None or through < known:
                distance[column], before[column] = through, at_column
        travelled, at_column = min((distance[c] or 0, c) for c in columns if c not in done)
        if row_of[at_column] < 0:
            break
        done.add(at_column)
        at_row = row_of[at_column]
    row_price[row] += travelled
    for column in done:
        slack = travelled - (distance[column] or 0)
        row_price[row_of[column]] += slack
        column_price[column] -= slack
    while at_column >= 0:
        previous = before[at_column]
        row_of[at_column] = row if previous < 0 else row_of[previous]
        at_column = previous
