"""A pytest fixture that fails a test when a ranking gets worse.

    def test_models(leepfrog_check):
        leepfrog_check("baseline.json", "photos", fail_on=["score", "rank"])

pytest loads it automatically if leepfrog is installed. Paths are relative to the folder of the test file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from leepfrog.arguments import StrPath
    from leepfrog.gate.check import Check


@pytest.fixture
def leepfrog_check(request: pytest.FixtureRequest) -> Callable[..., Check]:
    """Run `leepfrog.check`, and fail the test with the reasons if the check fails; otherwise return the check.

    The fixture takes the arguments of `leepfrog.check`. A missing or unsuitable baseline also fails the test.
    """

    def run(baseline: StrPath, data: StrPath, **options: Any) -> Check:
        from leepfrog.arguments import several
        from leepfrog.errors import LeepfrogError
        from leepfrog.gate.check import check
        from leepfrog.gate.formats import as_text

        folder = request.path.parent
        models = [
            folder / model if (folder / model).exists() else model for model in several(options.pop("models", ()))
        ]
        problem = ""
        try:
            result = check(folder / baseline, folder / data, models=models, **options)
        except LeepfrogError as error:
            problem = str(error)
        if problem:  # outside of the exception, which pytest would show as well
            pytest.fail(problem, pytrace=False)
        if not result.passed:
            pytest.fail(as_text(result), pytrace=False)
        return result

    return run
