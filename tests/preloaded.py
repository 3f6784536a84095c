"""What the commands of tests/processes.py would each import and read anew: their server does it once, before it forks them."""

import gc

import hrpose.cli.main  # noqa: F401
from hrpose.config import compose, validate
from hrpose.tasks import find_task

for verb in ("fit", "test", "predict", "export", "evaluate", "convert", "compare"):
    find_task(verb)
    compose(verb)
validate(compose("fit"))  # imports all that a `_target_` names
gc.set_threshold(100_000, 20, 20)  # as in conftest.py
gc.freeze()  # a collection in a forked process would copy every page that it looks at
