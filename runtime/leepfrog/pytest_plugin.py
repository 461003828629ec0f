"""A pytest fixture that fails a test when a ranking got worse.

    def test_models(leepfrog_check):
        leepfrog_check("baseline.json", "photos", fail_on=["score", "rank"])

pytest finds it by itself where leepfrog is installed. Paths are relative to the test's own folder.
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
    """`leepfrog.check` that fails the test with what failed and why; returns the check when it passed.

    It takes the arguments of `leepfrog.check`; a baseline that is missing or of something else is an error.
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
        try:
            result = check(folder / baseline, folder / data, models=models, **options)
        except LeepfrogError as error:
            pytest.fail(str(error), pytrace=False)
        if not result.passed:
            pytest.fail(as_text(result), pytrace=False)
        return result

    return run
